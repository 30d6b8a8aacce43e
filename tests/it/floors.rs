//! The sources against their own map. Comes in: `src/**/*.rs`, and the floors that the documentation
//! of `src/lib.rs` draws. Goes out: each edge that leads upward, in a circle or to another edge of
//! the system, each word that a floor may not say, as file and line. Never: a parser of all of Rust;
//! it reads words, so a path must be written as one (`crate::a::b`, `super::b`, `use crate::{a, b}`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Pure below here: values in, values out.
const LAST_PURE: u8 = 2;
/// The edges of the system: sockets, tasks, clocks. None knows another.
const EDGES: u8 = 3;
/// The top wires; its parts may know each other in any way.
const TOP: u8 = 5;
/// Where something may be told. `main` has nothing to tell.
const OBSERVERS: std::ops::RangeInclusive<u8> = 2..=5;
/// Ground that reads a clock or writes the log: pure in use, or for the edges alone.
const IMPURE_GROUND: [&str; 2] = ["clock", "observe"];
/// What the simulated fleet's truth is compared with.
const JUDGED: [&str; 4] = ["aggregate", "store", "total", "view"];
/// Lines that a file may have before its tests.
const MOST_LINES: usize = 600;

/// What a pure file may not say, as words that follow each other.
const IMPURE: [&[&str]; 17] = [
    &["tokio"],
    &["tokio_util"],
    &["hyper"],
    &["hyper_util"],
    &["axum"],
    &["tower"],
    &["notify"],
    &["tracing"],
    &["TcpStream"],
    &["TcpListener"],
    &["UdpSocket"],
    &["Instant", "::", "now"],
    &["SystemTime", "::", "now"],
    &["std", "::", "fs"],
    &["std", "::", "env"],
    &["std", "::", "process"],
    &["std", "::", "thread"],
];

/// What no file may say, tests neither.
const NEVER: [(&[&str], &str); 3] = [
    (&["unsafe"], "unsafe code"),
    (&["unbounded_channel"], "a channel without a cap"),
    (&["mpsc", "::", "channel", "(", ")"], "a channel without a cap"),
];

#[test]
fn the_sources_keep_to_their_floors() {
    let sources = read_sources();
    assert!(sources.len() > 20, "only {} files found", sources.len());
    let findings = findings(&sources);
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// Path below `src` (with `/`) and text of each source.
type Sources = BTreeMap<String, String>;

fn read_sources() -> Sources {
    fn walk(folder: &Path, below: &str, sources: &mut Sources) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{below}{name}");
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{path}/"), sources);
            } else if name.ends_with(".rs") {
                sources.insert(path, fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    let mut sources = Sources::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut sources);
    sources
}

/// All that is wrong with the sources, a line each.
fn findings(sources: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    let floors = match floors(&sources["lib.rs"]) {
        Ok(floors) => floors,
        Err(problem) => return vec![format!("src/lib.rs: {problem}")],
    };
    let modules: BTreeSet<&str> =
        sources.keys().map(|path| module_of(path)).filter(|m| *m != "lib").collect();
    for module in &modules {
        if !floors.contains_key(*module) {
            found.push(format!("src/{module}.rs: src/lib.rs gives {module} no floor"));
        }
    }
    for module in floors.keys().filter(|module| !modules.contains(module.as_str())) {
        found.push(format!("src/lib.rs: there is no file for {module}, which has a floor"));
    }
    // Uses on one floor, with the place of the first.
    let mut level: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for (path, text) in sources {
        found.extend(furniture(path, text));
        let words = words(path, text);
        for (said, what) in NEVER {
            found.extend(places(&words, said).map(|w| format!("src/{path}:{}: {what}", w.line)));
        }
        let module = module_of(path);
        let Some(&floor) = floors.get(module) else { continue };
        if floor <= LAST_PURE && !IMPURE_GROUND.contains(&module) {
            for said in IMPURE {
                let of_source = places(&words, said).filter(|word| !word.in_test);
                found.extend(of_source.map(|word| {
                    format!("src/{path}:{}: {} on floor {floor}", word.line, said.concat())
                }));
            }
        }
        // Tests may drive a file through the floors above it.
        let of_source = uses(path, &words).into_iter().filter(|u| !u.in_test);
        for (line, used) in of_source.map(|u| (u.line, u.text.as_str())) {
            let place = format!("src/{path}:{line}");
            let Some((used, &used_floor)) = floors.get_key_value(used) else {
                found.push(format!("{place}: crate::{used} is no module with a floor"));
                continue;
            };
            if used == module {
                continue;
            }
            if path.starts_with("demo/fleet") && JUDGED.contains(&used.as_str()) {
                found.push(format!("{place}: the fleet's truth shares no code with {used}"));
            } else if let Some(reason) = forbidden(module, floor, used, used_floor) {
                found.push(format!("{place}: {module} (floor {floor}) uses {used}: {reason}"));
            } else if used_floor == floor && floor < TOP {
                level.entry((module, used)).or_insert(place);
            }
        }
    }
    found.extend(circles(&level));
    found
}

/// Why a module may not use another; circles are found elsewhere.
fn forbidden(module: &str, floor: u8, used: &str, used_floor: u8) -> Option<&'static str> {
    if used_floor > floor {
        return Some("a file uses lower floors only");
    }
    if used_floor == floor && floor == EDGES {
        return Some("no edge uses another edge");
    }
    if used == "clock" && floor <= LAST_PURE && module != "observe" {
        return Some("a clock is read at the edges, and its moments given as values");
    }
    if used == "observe" && !OBSERVERS.contains(&floor) {
        return Some("observe is for floors 2 to 5");
    }
    None
}

/// Two modules of a floor that use each other, over others too.
fn circles(level: &BTreeMap<(&str, &str), String>) -> Vec<String> {
    let reaches = |from: &str, to: &str| {
        let mut seen = BTreeSet::from([from]);
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            for (_, next) in level.keys().filter(|(user, _)| *user == at) {
                if *next == to {
                    return true;
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        false
    };
    level
        .iter()
        .filter(|((user, used), _)| reaches(used, user))
        .map(|((user, used), place)| {
            format!("{place}: {user} uses {used}, which uses {user}: a circle on one floor")
        })
        .collect()
}

/// Opening line, length and name of one file.
fn furniture(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push(format!("src/{path}:1: the first line says with //! what the file is"));
    }
    let mut head = text.lines().take_while(|line| line.starts_with("//!"));
    if path != "lib.rs" && !is_test_file(path) && !head.any(|line| line.contains("ever")) {
        found.push(format!("src/{path}:1: its head does not say what never happens"));
    }
    if path == "mod.rs" || path.ends_with("/mod.rs") {
        found.push(format!("src/{path}:1: the front door of a folder is named as the folder"));
    }
    let lines = text.lines().collect::<Vec<_>>();
    let tests = (0..lines.len())
        .find(|&at| {
            lines[at] == "#[cfg(test)]"
                && lines[at..]
                    .iter()
                    .find(|l| !l.starts_with("#["))
                    .is_some_and(|l| l.starts_with("mod "))
        })
        .unwrap_or(lines.len());
    if tests > MOST_LINES && !is_test_file(path) {
        found.push(format!("src/{path}:{tests}: more than {MOST_LINES} lines before its tests"));
    }
    found
}

/// Files that hold tests alone, by name: `tests.rs` and `x_tests.rs`.
fn is_test_file(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name == "tests.rs" || name.ends_with("_tests.rs"))
}

/// The module below the crate's root that a file belongs to.
fn module_of(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or_default();
    let stem = first.strip_suffix(".rs").unwrap_or(first);
    stem.strip_suffix("_tests").unwrap_or(stem)
}

/// The floors as the documentation of `lib.rs` draws them: a code span of floors between `·`, each
/// the number and then its modules. It may run over several lines.
fn floors(lib: &str) -> Result<BTreeMap<String, u8>, String> {
    let doc: Vec<&str> =
        lib.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    let doc = doc.join(" ").replace("```", "");
    let drawn = doc.split('`').skip(1).step_by(2).find(|span| span.contains(" · "));
    let drawn = drawn.ok_or("its documentation draws no floors")?;
    let mut floors = BTreeMap::new();
    for floor in drawn.split(" · ") {
        let mut words = floor.split_whitespace();
        let number = words.next().and_then(|word| word.parse().ok());
        let number: u8 = number.ok_or_else(|| format!("a floor without a number: {floor}"))?;
        for module in words {
            if floors.insert(module.to_owned(), number).is_some() {
                return Err(format!("{module} stands on two floors"));
            }
        }
    }
    Ok(floors)
}

/// A word of the source: a name, a number, `::`, or another single character.
#[derive(Debug, Clone, PartialEq)]
struct Word {
    line: usize,
    text: String,
    /// Whether it stands in a file of tests or below `#[cfg(test)]`.
    in_test: bool,
    /// How many inline modules it stands in.
    inline: usize,
}

/// The words of a source, without comments, strings and characters.
fn words(path: &str, source: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let chars: Vec<char> = source.chars().collect();
    let (mut at, mut line) = (0, 1);
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    while at < chars.len() {
        let begin = at;
        let next = chars.get(at + 1).copied().unwrap_or(' ');
        let mut text = None;
        match chars[at] {
            '/' if next == '/' => {
                at = (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len());
            }
            '/' if next == '*' => {
                let mut depth = 0;
                loop {
                    match (chars.get(at), chars.get(at + 1)) {
                        (Some('/'), Some('*')) => (depth, at) = (depth + 1, at + 2),
                        (Some('*'), Some('/')) => (depth, at) = (depth - 1, at + 2),
                        (Some(_), _) => at += 1,
                        (None, _) => break,
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            '"' => at = after_string(&chars, at),
            // A character, or the quote before a lifetime, whose name then reads as a word.
            '\'' if next == '\\' => {
                at = (at + 3..chars.len()).find(|&i| chars[i] == '\'').unwrap_or(chars.len()) + 1;
            }
            '\'' if chars.get(at + 2) == Some(&'\'') => at += 3,
            c if is_name(c) => {
                at = (at..chars.len()).find(|&i| !is_name(chars[i])).unwrap_or(chars.len());
                let name: String = chars[begin..at].iter().collect();
                let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
                let quote = chars.get(at + hashes) == Some(&'"');
                if quote && matches!(name.as_str(), "r" | "br" | "cr") {
                    let end: Vec<char> =
                        std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                    let body = at + hashes + 1;
                    at = (body..chars.len())
                        .find(|&i| chars[i..].starts_with(&end))
                        .map_or(chars.len(), |i| i + end.len());
                } else {
                    text = Some(name);
                }
            }
            ':' if next == ':' => {
                at += 2;
                text = Some("::".to_owned());
            }
            c => {
                at += 1;
                text = (!c.is_whitespace()).then(|| c.to_string());
            }
        }
        at = at.min(chars.len());
        if let Some(text) = text {
            words.push(Word { line, text, in_test: is_test_file(path), inline: 0 });
        }
        line += chars[begin..at].iter().filter(|c| **c == '\n').count();
    }
    mark_blocks(&mut words);
    words
}

/// The place behind the string that begins at `at`.
fn after_string(chars: &[char], mut at: usize) -> usize {
    at += 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Notes which words stand below `#[cfg(test)]`, and in how many inline modules.
fn mark_blocks(words: &mut [Word]) {
    const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    // What each open brace began: tests, a module.
    let mut open: Vec<(bool, bool)> = Vec::new();
    let (mut test_item, mut module) = (false, false);
    for at in 0..words.len() {
        if CFG_TEST.iter().enumerate().all(|(i, t)| words.get(at + i).is_some_and(|w| w.text == *t))
        {
            test_item = true;
        }
        words[at].in_test |= test_item || open.iter().any(|(test, _)| *test);
        words[at].inline = open.iter().filter(|(_, module)| *module).count();
        match words[at].text.as_str() {
            "mod" => module = true,
            "{" => {
                open.push((test_item, module));
                (test_item, module) = (false, false);
            }
            "}" => drop(open.pop()),
            ";" => (test_item, module) = (false, false),
            _ => {}
        }
    }
}

/// Where words follow each other.
fn places<'a>(words: &'a [Word], said: &'a [&str]) -> impl Iterator<Item = &'a Word> {
    words
        .windows(said.len())
        .filter(move |w| w.iter().zip(said).all(|(w, s)| w.text == *s))
        .map(|w| &w[0])
}

/// The words by which a file names modules below the root.
fn uses<'a>(path: &str, words: &'a [Word]) -> Vec<&'a Word> {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    // `x_tests.rs` is declared in `x.rs`, as its module `tests`.
    let depth = stem.split('/').count() + usize::from(stem.ends_with("_tests"));
    // At the root stand no other modules' children.
    let depth = if matches!(path, "lib.rs" | "main.rs") { 0 } else { depth };
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let follows = at > 0 && words[at - 1].text == "::";
        let leads = words.get(at + 1).is_some_and(|next| next.text == "::");
        match word.text.as_str() {
            "crate" | "vpc_cni_exporter" if leads => below(words, at + 2, 0, &mut found),
            "super" if leads && !follows => {
                let depth = depth + word.inline;
                below(words, at + 2, depth.saturating_sub(1), &mut found);
            }
            _ => {}
        }
    }
    found
}

/// The tree of a path that has led to `depth` modules below the root.
fn below<'a>(words: &'a [Word], at: usize, depth: usize, found: &mut Vec<&'a Word>) {
    let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
    match text(at) {
        "{" => {
            let mut nested = 0;
            let mut begins = true;
            for i in at + 1..words.len() {
                match text(i) {
                    "}" if nested == 0 => break,
                    "{" => nested += 1,
                    "}" => nested -= 1,
                    "," if nested == 0 => begins = true,
                    _ if begins => {
                        below(words, i, depth, found);
                        begins = false;
                    }
                    _ => {}
                }
            }
        }
        "super" if text(at + 1) == "::" => below(words, at + 2, depth.saturating_sub(1), found),
        "self" | "super" | "*" | "" => {}
        _ if depth == 0 => found.push(&words[at]),
        _ => {}
    }
}

// What follows holds the checker to its word, with sources made up for it.

/// Floors as in the real map, in short.
const LIB: &str = "//! A map.\n//!\n//! ```text\n//! a ──► b · c\n//! ```\n//! Floors: `6 main ·\n\
    //! 5 app config demo · 4 serve · 3 discover scrape · 2 store · 1 parse render ·\n\
    //! 0 model observe clock`.\n";

/// The findings where each module is an empty file but the given ones.
fn found_in(files: &[(&str, &str)]) -> Vec<String> {
    let mut sources = Sources::from([("lib.rs".to_owned(), LIB.to_owned())]);
    for module in floors(LIB).unwrap().keys() {
        sources.insert(format!("{module}.rs"), "//! Never full.\n".to_owned());
    }
    for (path, text) in files {
        sources.insert((*path).to_owned(), format!("//! Never.\n{text}"));
    }
    findings(&sources)
}

#[test]
fn the_floors_are_read_from_the_map() {
    let floors = floors(LIB).unwrap();
    assert_eq!(floors.len(), 13);
    assert_eq!((floors["main"], floors["config"], floors["clock"]), (6, 5, 0));
    assert_eq!(found_in(&[]), Vec::<String>::new());
}

#[test]
fn a_use_of_a_higher_floor_is_found_in_each_way_of_writing_it() {
    let upward = |line: u8| {
        format!(
            "src/parse/scan.rs:{line}: parse (floor 1) uses store: a file uses lower floors only"
        )
    };
    for text in [
        "use crate::store::Store;",
        "use crate::{model, store};",
        "use crate::{model::{self, Kind}, store::{Store, canon}};",
        "use super::super::store;",
        "use super::{super::store::Store, unescape};",
        "pub(crate) fn a(_: &crate::store::Store) {}",
        "mod inner { use super::super::super::store; }",
    ] {
        assert_eq!(found_in(&[("parse/scan.rs", text)]), [upward(2)], "{text}");
    }
    let two = "/* crate::app */\nuse crate::model;\n\nuse\n  crate::store;";
    assert_eq!(found_in(&[("parse/scan.rs", two)]), [upward(6)]);
}

#[test]
fn what_only_looks_like_a_use_is_none() {
    for text in [
        "// use crate::store;\n/// [`crate::store`]\n/* a /* crate::store */ crate::store */ fn a() {}",
        "const A: &str = \"crate::store \\\" crate::store\";",
        "const A: &str = r#\"\" crate::store \"#; const B: char = '\"'; const C: char = '\\'';",
        "use super::store; mod inner { use super::store; use super::super::store; }",
        "use crate::model::store; use crate::render::{self, store};",
        "fn a<'a>(store: &'a str) -> &'a str { store }",
        "pub(crate) struct A; pub(super) struct B;",
    ] {
        assert_eq!(found_in(&[("parse/scan.rs", text)]), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn one_edge_does_not_use_another() {
    assert_eq!(
        found_in(&[("scrape.rs", "use crate::discover::Targets;")]),
        ["src/scrape.rs:2: scrape (floor 3) uses discover: no edge uses another edge"]
    );
}

#[test]
fn the_fleet_knows_nothing_of_what_its_truth_judges() {
    let text = "use crate::{model, store};";
    assert_eq!(
        found_in(&[("app/fleet/truth.rs", text), ("demo/fleet/truth.rs", text)]),
        ["src/demo/fleet/truth.rs:2: the fleet's truth shares no code with store"]
    );
}

#[test]
fn tests_may_look_up() {
    let inline = "#[cfg(test)]\nmod tests { use crate::store; }\n";
    let files = [("parse/tests.rs", "use crate::store;"), ("render.rs", inline)];
    assert_eq!(found_in(&files), Vec::<String>::new());
    let after = format!("{inline}use crate::store;");
    assert_eq!(
        found_in(&[("render.rs", &after)]),
        ["src/render.rs:4: render (floor 1) uses store: a file uses lower floors only"]
    );
}

#[test]
fn modules_of_one_floor_do_not_go_in_circles() {
    assert_eq!(found_in(&[("render.rs", "use crate::parse;")]), Vec::<String>::new());
    assert_eq!(
        found_in(&[("render.rs", "use crate::parse;"), ("parse/a.rs", "use crate::render;")]),
        [
            "src/parse/a.rs:2: parse uses render, which uses parse: a circle on one floor",
            "src/render.rs:2: render uses parse, which uses render: a circle on one floor",
        ]
    );
    let top = [("app.rs", "use crate::config;"), ("config.rs", "use crate::app;")];
    assert_eq!(found_in(&top), Vec::<String>::new());
}

#[test]
fn clocks_and_observers_keep_to_their_floors() {
    assert_eq!(
        found_in(&[
            ("render.rs", "use crate::{clock, observe};"),
            ("store.rs", "use crate::observe;")
        ]),
        [
            "src/render.rs:2: render (floor 1) uses clock: a clock is read at the edges, and its moments given as values",
            "src/render.rs:2: render (floor 1) uses observe: observe is for floors 2 to 5",
        ]
    );
}

#[test]
fn pure_floors_do_not_name_what_does_things() {
    let text = "use std::time::{Instant, SystemTime};\nfn a() { Instant::now(); tokio::spawn(b()); }\n\
        #[cfg(test)]\nmod tests { use tokio::test; fn a() { Instant::now(); } }\nfn b() { tracing::info!() }";
    assert_eq!(
        found_in(&[
            ("store/a.rs", text),
            ("store/tests.rs", text),
            ("clock.rs", text),
            ("serve.rs", text)
        ]),
        [
            "src/store/a.rs:3: tokio on floor 2",
            "src/store/a.rs:6: tracing on floor 2",
            "src/store/a.rs:3: Instant::now on floor 2",
        ]
    );
}

#[test]
fn no_file_is_unsafe_or_sends_without_a_cap() {
    let text = "unsafe fn a() { tokio::sync::mpsc::unbounded_channel::<u8>(); }\n\
        fn b() { std::sync::mpsc::channel(); tokio::sync::mpsc::channel(1); }";
    assert_eq!(
        found_in(&[("serve.rs", text)]),
        [
            "src/serve.rs:2: unsafe code",
            "src/serve.rs:2: a channel without a cap",
            "src/serve.rs:3: a channel without a cap",
        ]
    );
}

#[test]
fn each_file_is_on_the_map_begins_with_its_purpose_and_is_not_long() {
    let long = "\n".repeat(600);
    assert_eq!(
        found_in(&[
            ("extra.rs", ""),
            ("parse/mod.rs", ""),
            ("parse/long.rs", &long),
            ("parse/tests.rs", &long),
            ("render.rs", "#[cfg(test)]\nmod tests {\n"),
            ("scrape.rs", "use crate::helper;"),
        ]),
        [
            "src/extra.rs: src/lib.rs gives extra no floor",
            "src/parse/long.rs:601: more than 600 lines before its tests",
            "src/parse/mod.rs:1: the front door of a folder is named as the folder",
            "src/scrape.rs:2: crate::helper is no module with a floor",
        ]
    );
    let mut sources = Sources::from([("lib.rs".to_owned(), "//! `0 a · 1 b`".to_owned())]);
    sources.insert("a.rs".to_owned(), "// a\n".to_owned());
    assert_eq!(
        findings(&sources),
        [
            "src/lib.rs: there is no file for b, which has a floor",
            "src/a.rs:1: the first line says with //! what the file is",
            "src/a.rs:1: its head does not say what never happens",
        ]
    );
    sources.insert("lib.rs".to_owned(), "//! nothing".to_owned());
    assert_eq!(findings(&sources), ["src/lib.rs: its documentation draws no floors"]);
}
