//! Servers that fail.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use super::{Bucket, Tool};
use crate::{
    place::{code, stderr},
    support::pattern,
};

/// A request.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    target: String,
    /// The length of the answer's body.
    answered: u64,
}

/// Returns the answer to a request, or `None` to pass it on.
type Fault = fn(&Request) -> Option<&'static str>;

/// A server that passes requests on to another one, except for some that it answers itself.
struct Proxy {
    endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Proxy {
    fn start(upstream: &str, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (upstream, requests) = (upstream.trim_start_matches("http://").to_owned(), Arc::new(Mutex::default()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (upstream, seen) = (upstream.clone(), Arc::clone(&seen));
                thread::spawn(move || {
                    // A connection that the tool drops is of no interest.
                    let _ = pass_on(connection?, &upstream, fault, &seen);
                    Ok::<(), std::io::Error>(())
                });
            }
        });
        Self { endpoint, requests }
    }

    fn taken(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

/// Reads a head of HTTP. Returns its lines, without the empty one.
fn head(reader: &mut impl BufRead) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => return Ok(lines),
            text => lines.push(text.to_owned()),
        }
    }
}

fn header<'a>(lines: &'a [String], name: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Handles one request of a connection, which is then closed.
fn pass_on(connection: TcpStream, upstream: &str, fault: Fault, seen: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut connection = connection;
    let lines = head(&mut reader)?;
    let mut words = lines[0].split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut body = vec![0; header(&lines, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let mut request = Request { method, target, answered: 0 };
    if let Some(status) = fault(&request) {
        seen.lock().unwrap().push(request);
        let text = "<Error><Code>Refused</Code><Message>as the test asks</Message></Error>";
        let length = text.len();
        return write!(connection, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
    }
    let mut server = TcpStream::connect(upstream)?;
    let mut passed = vec![lines[0].clone(), "Connection: close".to_owned()];
    passed.extend(lines[1..].iter().filter(|line| !line.to_ascii_lowercase().starts_with("connection:")).cloned());
    server.write_all((passed.join("\r\n") + "\r\n\r\n").as_bytes())?;
    server.write_all(&body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    let start = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    request.answered = (answer.len() - start) as u64;
    seen.lock().unwrap().push(request);
    connection.write_all(&answer)
}

#[test]
fn a_range_takes_three_requests_and_little_more_than_its_bytes() {
    let Some(bucket) = Bucket::new() else { return };
    let text = pattern(5_000_000);
    bucket.tool.place.write("plain", &text);
    bucket.tool.with_key(&["encrypt", "plain", "-o", "s3://lake/object"]);
    let proxy = Proxy::start(&bucket.server.endpoint, |_| None);
    let mut tool = bucket.tool;
    tool.environment.push(("AWS_ENDPOINT_URL", "http://127.0.0.1:9".to_owned()));
    for (first, last) in [(0, 0), (65_535, 65_536), (1_000_000, 3_000_000), (4_999_999, 4_999_999)] {
        let range = format!("{first}-{last}");
        // The option beats the environment.
        let arguments =
            ["decrypt", "--endpoint-url", &proxy.endpoint, "--range", &range, "s3://lake/object", "-o", "-"];
        assert!(tool.with_key(&arguments) == text[first..=last], "{range}");
        let taken = proxy.taken();
        assert!(taken.len() <= 3, "{range}: {taken:?}");
        let fetched: u64 = taken.iter().map(|request| request.answered).sum();
        let most = (last - first + 1) as u64 + 3 * (65_536 + 40) + 1024;
        assert!(fetched <= most, "{range}: {fetched} bytes, and not {most}");
    }
    let listing = proxy.taken();
    assert!(listing.is_empty(), "{listing:?}");
    tool.ok(&["ls", "-r", "--endpoint-url", &proxy.endpoint, "s3://lake"]);
    assert_eq!(proxy.taken().len(), 1, "no request for each object");
    tool.ok(&["inspect", "--endpoint-url", &proxy.endpoint, "s3://lake/object"]);
    let taken = proxy.taken();
    assert!(taken.len() == 1 && taken[0].answered <= 16 << 10, "{taken:?}");
}

#[test]
fn a_failed_upload_is_aborted() {
    let Some(mut bucket) = Bucket::new() else { return };
    bucket.tool.place.write("plain", &vec![7; 40 << 20]);
    let third: Fault =
        |request| (request.method == "PUT" && request.target.contains("partNumber=3")).then_some("403 Forbidden");
    let proxy = Proxy::start(&bucket.server.endpoint, third);
    for arguments in [&["encrypt", "plain", "-o", "s3://lake/a"][..], &["cp", "plain", "s3://lake/a"]] {
        let arguments = [arguments, &["--endpoint-url", &proxy.endpoint]].concat();
        bucket.tool.refused(&arguments, 1, "Refused: as the test asks");
    }
    let taken = proxy.taken();
    assert!(taken.iter().any(|request| request.target.contains("partNumber=2")), "{taken:?}");
    assert_eq!(bucket.open_uploads(), 0);
    assert!(bucket.keys().is_empty());
    // And one that is interrupted.
    #[cfg(unix)]
    {
        let slow: Fault = |request| {
            if request.target.contains("partNumber=3") {
                thread::sleep(Duration::from_millis(300));
            }
            None
        };
        let proxy = Proxy::start(&bucket.server.endpoint, slow);
        let arguments =
            ["encrypt", "-k", &bucket.tool.place.key, "-", "-o", "s3://lake/b", "--endpoint-url", &proxy.endpoint];
        let mut child = bucket.tool.command(&arguments).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&vec![7; 30 << 20]).unwrap();
        while bucket.open_uploads() == 0 {
            thread::sleep(Duration::from_millis(20));
        }
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        assert!(!child.wait().unwrap().success());
        drop(stdin);
        assert_eq!(bucket.open_uploads(), 0);
        assert!(bucket.keys().is_empty());
    }
}

#[test]
fn what_is_wrong_is_said_soon() {
    let Some(mut bucket) = Bucket::new() else { return };
    bucket.tool.place.write("plain", b"text");
    bucket.tool.with_key(&["encrypt", "plain", "-o", "s3://lake/a"]);
    let quick = |tool: &Tool, arguments: &[&str], seconds: u64, text: &str| {
        let started = Instant::now();
        let output = tool.run(arguments);
        assert!(started.elapsed() < Duration::from_secs(seconds), "{arguments:?}: {:?}", started.elapsed());
        assert_eq!(code(&output), 1, "{arguments:?}: {}", stderr(&output));
        let line = stderr(&output);
        assert!(line.contains(text) && line.lines().count() == 1, "{arguments:?}: {line}");
    };
    let key = bucket.tool.place.key.clone();
    let commands = |bucket: &str| {
        let url = format!("s3://{bucket}/a");
        let words = [
            vec!["encrypt", "-f", "-k", &key, "plain", "-o", &url],
            vec!["decrypt", "-k", &key, &url, "-o", "out"],
            vec!["verify", "-k", &key, &url],
            vec!["inspect", &url],
            vec!["ls", &url],
            vec!["sync", "-k", &key, ".", &url],
        ];
        words.map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    for words in commands("missing") {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        quick(&bucket.tool, &words, 30, "no such object or bucket");
    }
    // Nothing listens.
    let dead = Tool::new("http://127.0.0.1:9");
    dead.place.write("plain", b"text");
    let words = ["inspect", "s3://lake/a"];
    quick(&dead, &words, 120, "s3://lake/a");
    // Credentials that belong to no user.
    bucket.server.ask(serde_json::json!({"op": "enforce"})).unwrap();
    for words in commands("lake") {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        quick(&bucket.tool, &words, 30, "403");
    }
    assert!(!bucket.tool.place.path("out").exists());
}
