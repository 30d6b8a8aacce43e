//! The README says what the program does: its tables are the program's own. `UPDATE=1 cargo test readme`
//! rewrites them.

use std::path::PathBuf;

fn readme() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// Holds the text between two markers equal to what the program says.
fn section(marker: &str, expected: &str) {
    let text = std::fs::read_to_string(readme()).unwrap();
    let (begin, end) = (format!("<!-- {marker}:begin -->\n"), format!("<!-- {marker}:end -->"));
    let (head, rest) = text.split_once(&begin).expect("the README has the marker");
    let (found, tail) = rest.split_once(&end).expect("the README has the end marker");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(readme(), format!("{head}{begin}{expected}{end}{tail}")).unwrap();
        return;
    }
    assert!(found == expected, "README's section {marker} is old: UPDATE=1 cargo test readme");
}

// One test, so that two rewritings do not meet in the file.
#[test]
fn the_tables_of_flags_and_metrics_in_the_readme_are_the_programs() {
    section("flags", &vpc_cni_exporter::config::reference());
    section("metrics", &vpc_cni_exporter::app::catalog());
}
