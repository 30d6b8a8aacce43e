//! What integration tests share: the built program as a child process, plain HTTP over a socket, a
//! page server, a reader of expositions. Every wait has a guard against hanging. Never: the crate's
//! own parser or client, which are what is tested.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing here takes so long unless it hangs: tests may share two cores with a build.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// How often a state is asked for that nobody announces, such as that of a page.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The program under test, with nothing of the surrounding environment that could configure it.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vpc-cni-exporter"));
    command.env_clear();
    command
}

// === Child ===

/// A process whose output is collected. It is killed when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    output: Arc<Output>,
}

#[derive(Default)]
struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    stdout: Vec<String>,
    stderr: Vec<String>,
    /// How many of the two streams have ended.
    ended: usize,
}

/// How a process ended, and all that it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Child {
    /// Starts a command, with no standard input.
    pub(crate) fn start(mut command: Command) -> Child {
        command.stdin(Stdio::null());
        Child::spawn(command)
    }

    /// Starts a command whose standard input stays open for as long as what comes with it is kept.
    pub(crate) fn start_with_input(mut command: Command) -> (Child, ChildStdin) {
        command.stdin(Stdio::piped());
        let mut child = Child::spawn(command);
        let stdin = child.process.stdin.take().unwrap();
        (child, stdin)
    }

    /// Starts the program under test with these arguments.
    pub(crate) fn program<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Child {
        let mut command = program();
        command.args(args);
        Child::start(command)
    }

    fn spawn(mut command: Command) -> Child {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = Arc::new(Output::default());
        output.collect(process.stdout.take().unwrap(), |lines| &mut lines.stdout);
        output.collect(process.stderr.take().unwrap(), |lines| &mut lines.stderr);
        Child { process, output }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for a line, of either stream, that `find` makes something of. Lines that came before
    /// the call count.
    pub(crate) fn line<T>(&self, what: &str, mut find: impl FnMut(&str) -> Option<T>) -> T {
        let until = Instant::now() + HANG;
        let mut lines = self.output.lines.lock().unwrap();
        let mut read = (0, 0);
        loop {
            let new = lines.stdout[read.0..].iter().chain(&lines.stderr[read.1..]);
            if let Some(found) = new.map(String::as_str).find_map(&mut find) {
                return found;
            }
            read = (lines.stdout.len(), lines.stderr.len());
            let left = until.saturating_duration_since(Instant::now());
            assert!(lines.ended < 2, "ended without {what}:\n{}", lines.all());
            assert!(!left.is_zero(), "no {what} after {HANG:?}:\n{}", lines.all());
            lines = self.output.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Waits for the service to say where it listens.
    pub(crate) fn listening(&self) -> SocketAddr {
        self.line("line that says where it listens", |line| {
            line.contains("listening for HTTP").then(|| address_in(line)).flatten()
        })
    }

    /// All that was written so far: standard output, then standard error.
    pub(crate) fn so_far(&self) -> String {
        self.output.lines.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(sent.unwrap().success(), "kill -{name} {}", self.id());
    }

    /// Waits for the process to end by itself.
    pub(crate) fn ended(mut self) -> Ended {
        let until = Instant::now() + HANG;
        let mut lines = self.output.lines.lock().unwrap();
        while lines.ended < 2 {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "still runs after {HANG:?}:\n{}", lines.all());
            lines = self.output.changed.wait_timeout(lines, left).unwrap().0;
        }
        let (stdout, stderr) = (lines.stdout.concat(), lines.stderr.concat());
        drop(lines);
        Ended { status: self.process.wait().unwrap(), stdout, stderr }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Fails only where the process has ended.
        drop(self.process.kill());
        drop(self.process.wait());
        if thread::panicking() {
            eprintln!("--- output of process {}:\n{}", self.id(), self.so_far());
        }
    }
}

impl Output {
    fn collect(
        self: &Arc<Self>,
        stream: impl Read + Send + 'static,
        choose: fn(&mut Lines) -> &mut Vec<String>,
    ) {
        let output = Arc::clone(self);
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).into_owned();
                choose(&mut output.lines.lock().unwrap()).push(text);
                output.changed.notify_all();
                line.clear();
            }
            output.lines.lock().unwrap().ended += 1;
            output.changed.notify_all();
        });
    }
}

impl Lines {
    fn all(&self) -> String {
        self.stdout.concat() + &self.stderr.concat()
    }
}

/// Runs a command to its end, with this as its standard input.
pub(crate) fn run(command: Command, input: &[u8]) -> Ended {
    let (child, mut stdin) = Child::start_with_input(command);
    let input = input.to_vec();
    // From a thread, because a process may write before it has read all; it may also end before.
    thread::spawn(move || drop(stdin.write_all(&input)));
    child.ended()
}

/// The value of the field `address=` of a log line.
pub(crate) fn address_in(line: &str) -> Option<SocketAddr> {
    let value = line.split_once("address=")?.1;
    value.split_whitespace().next()?.trim_matches('"').parse().ok()
}

/// Asks until there is an answer, for states that nobody announces.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + HANG;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "no {what} after {HANG:?}");
        thread::sleep(ASK_AGAIN);
    }
}

// === HTTP ===

/// An answer to a GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, in the order of the answer.
    pub(crate) headers: Vec<(String, String)>,
    /// As sent, but for chunks put together.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first header of this name, which is given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body, taken out of gzip where the answer says so.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if self.header("content-encoding") == Some("gzip") {
            // One member, as Prometheus reads it.
            flate2::read::GzDecoder::new(&self.body[..]).read_to_string(&mut text).unwrap();
        } else {
            text.push_str(std::str::from_utf8(&self.body).unwrap());
        }
        text
    }
}

/// Gets a path (with its query) on a connection of its own. Panics where nothing or rubbish answers.
pub(crate) fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    try_get(address, path, headers).unwrap_or_else(|error| panic!("GET {address}{path}: {error}"))
}

/// As [`get`].
///
/// # Errors
/// When nobody listens, or the answer is cut off or none of HTTP/1.1.
pub(crate) fn try_get(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Answer> {
    ask("GET", address, path, headers)
}

/// Posts nothing to a path, as the fleet's control wants it.
pub(crate) fn post(address: SocketAddr, path: &str) -> Answer {
    let none = [("Content-Length", "0")];
    ask("POST", address, path, &none)
        .unwrap_or_else(|error| panic!("POST {address}{path}: {error}"))
}

fn ask(
    method: &str,
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, HANG)?;
    stream.set_read_timeout(Some(HANG))?;
    stream.set_write_timeout(Some(HANG))?;
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    read_answer(&mut BufReader::new(stream))
}

/// Waits until a path answers 200.
pub(crate) fn until_ok(address: SocketAddr, path: &str) -> Answer {
    until(&format!("200 from {address}{path}"), || {
        try_get(address, path, &[]).ok().filter(|answer| answer.status == 200)
    })
}

/// An answer, as it comes off a connection.
pub(crate) fn read_answer(stream: &mut impl BufRead) -> io::Result<Answer> {
    let first = line(stream)?;
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| bad(format!("no status line: {first:?}")))?;
    let mut headers = Vec::new();
    loop {
        let header = line(stream)?;
        if header.is_empty() {
            break;
        }
        let (name, value) =
            header.split_once(':').ok_or_else(|| bad(format!("no header: {header:?}")))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = line(stream)?;
            let size =
                usize::from_str_radix(&size, 16).map_err(|_| bad(format!("no size: {size:?}")))?;
            exactly(stream, size, &mut answer.body)?;
            let end = line(stream)?;
            if !end.is_empty() {
                return Err(bad(format!("no end of a chunk: {end:?}")));
            }
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = answer.header("content-length") {
        let length = length.parse().map_err(|_| bad(format!("no length: {length:?}")))?;
        exactly(stream, length, &mut answer.body)?;
    } else {
        stream.read_to_end(&mut answer.body)?;
    }
    Ok(answer)
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(whole) => Ok(whole.to_owned()),
        None => Err(bad(format!("cut off after {line:?}"))),
    }
}

fn exactly(stream: &mut impl BufRead, size: usize, body: &mut Vec<u8>) -> io::Result<()> {
    let read = stream.take(size as u64).read_to_end(body)?;
    if read == size { Ok(()) } else { Err(bad(format!("{read} bytes of {size}"))) }
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A server on a free port that answers every request with its page, which may be changed.
pub(crate) struct PageServer {
    pub(crate) address: SocketAddr,
    page: Arc<Mutex<String>>,
}

impl PageServer {
    /// Serves a page of text 0.0.4, until the test's process ends.
    pub(crate) fn start(page: &str) -> PageServer {
        PageServer::start_at("127.0.0.1:0", page)
    }

    /// The same on another address.
    pub(crate) fn start_at(address: &str, page: &str) -> PageServer {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let page = Arc::new(Mutex::new(page.to_owned()));
        let served = Arc::clone(&page);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let page = served.lock().unwrap().clone();
                // A client that goes away is no concern of the next one.
                thread::spawn(move || drop(stream.and_then(|stream| serve_one(stream, &page))));
            }
        });
        PageServer { address, page }
    }

    /// What is served from now on.
    pub(crate) fn set(&self, page: &str) {
        page.clone_into(&mut self.page.lock().unwrap());
    }
}

fn serve_one(stream: TcpStream, page: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(HANG))?;
    let mut stream = BufReader::new(stream);
    while !line(&mut stream)?.is_empty() {}
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        page.len()
    );
    stream.get_mut().write_all((head + page).as_bytes())
}

// === Expositions ===

/// The samples of a text exposition without timestamps, by `name{labels sorted by name}` with label
/// values as written. Panics on what is no sample, and on a series that comes twice.
pub(crate) fn figures(exposition: &str) -> BTreeMap<String, f64> {
    let mut figures = BTreeMap::new();
    for line in exposition.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name_ends = line.find(['{', ' ']).unwrap_or_else(|| panic!("no sample: {line}"));
        let (name, mut rest) = line.split_at(name_ends);
        let mut labels: Vec<(&str, &str)> = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            while !rest.starts_with('}') {
                let (label, value) =
                    rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
                let end = end_of_value(value).unwrap_or_else(|| panic!("no value's end: {line}"));
                let (value, after) = value.split_at(end);
                labels.push((label, value));
                rest = after.strip_prefix("\",").or_else(|| after.strip_prefix('"')).unwrap();
            }
            rest = rest.strip_prefix('}').unwrap();
        }
        let value = rest.strip_prefix(' ').and_then(|value| value.parse::<f64>().ok());
        let value = value.unwrap_or_else(|| panic!("no value, or more than one: {line}"));
        let twice = figures.insert(key(name, labels), value).is_some();
        assert!(!twice, "a series comes twice: {line}");
    }
    figures
}

/// `name{labels}` as [`figures`] writes it; values are given as in an exposition, escaped.
pub(crate) fn key(name: &str, mut labels: Vec<(&str, &str)>) -> String {
    labels.sort_unstable();
    if labels.is_empty() {
        return name.to_owned();
    }
    let labels: Vec<String> = labels.iter().map(|(n, v)| format!("{n}=\"{v}\"")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

fn end_of_value(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })
}

// === The helpers themselves ===

#[test]
fn figures_are_read_with_sorted_labels_and_all_kinds_of_values() {
    let page =
        "# HELP a x\na 1\na{z=\"1\",b=\"} \\\"\\\\\"} -2.5e3\n\nb{x=\"\"} +Inf\nc_total 1e2\n";
    let expected =
        [("a", 1.0), ("a{b=\"} \\\"\\\\\",z=\"1\"}", -2500.0), ("b{x=\"\"}", f64::INFINITY)];
    let mut expected = BTreeMap::from(expected.map(|(key, value)| (key.to_owned(), value)));
    expected.insert("c_total".to_owned(), 100.0);
    assert_eq!(figures(page), expected);
}

#[test]
fn an_answer_is_read_by_length_by_chunks_and_to_its_end() {
    let read = |text: &str| read_answer(&mut text.as_bytes());
    let by_length = read("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nabc").unwrap();
    assert_eq!((by_length.status, &by_length.body[..]), (404, &b"ab"[..]));
    assert_eq!(by_length.header("content-length"), Some("2"));
    let chunks =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nA\r\n0123456789\r\n";
    assert_eq!(read(&format!("{chunks}0\r\n\r\n")).unwrap().body, b"ab0123456789");
    assert!(read(chunks).is_err());
    assert!(read("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc").is_err());
    assert_eq!(read("HTTP/1.1 200 OK\r\n\r\nabc").unwrap().body, b"abc");
}

#[test]
fn a_page_server_serves_what_it_is_told() {
    let server = PageServer::start("a 1\n");
    assert_eq!(get(server.address, "/metrics", &[]).text(), "a 1\n");
    server.set("a 2\n");
    let answer = get(server.address, "/x?y", &[("Accept", "text/plain")]);
    assert_eq!((answer.status, answer.text()), (200, "a 2\n".to_owned()));
}

#[test]
fn the_program_says_where_it_listens_answers_and_stops_on_sigterm() {
    let node = PageServer::start("awscni_assigned_ip_addresses 7\n");
    let service = Child::program([
        "--web.listen-address=127.0.0.1:0".to_owned(),
        "--scrape.interval=200ms".to_owned(),
        format!("--discover.targets={}", node.address),
    ]);
    let address = service.listening();
    until_ok(address, "/readyz");
    let page = figures(&get(address, "/metrics", &[("Accept-Encoding", "gzip")]).text());
    let assigned = key("vpccni_cluster_ip_addresses_assigned", vec![("ip_family", "ipv4")]);
    assert_eq!(page.get(&assigned), Some(&7.0), "{page:#?}");
    service.signal("TERM");
    let ended = service.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

#[test]
fn a_command_is_given_its_input_and_its_output_collected() {
    let mut command = program();
    command.args(["check", "-"]);
    let ended = run(command, b"a 1\nb x\n");
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("2:3"), "{}", ended.stderr);
}
