//! A server on loopback that returns prescribed answers, byte for byte.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Step {
    /// Returns a whole answer.
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    /// Writes these bytes, then closes the connection.
    Raw(Vec<u8>),
    /// Writes these bytes one by one, with this interval.
    Slowly(Vec<u8>, Duration),
    /// Writes these bytes and then nothing, with the connection left open.
    Silence(Vec<u8>),
    /// Resets the connection after these bytes, without reading the request to its end.
    Reset(Vec<u8>),
    /// Returns an answer whose body does not end.
    Endless,
    /// Returns an error with this code that repeats the head or the body of the request.
    EchoHead(&'static str),
    EchoBody(&'static str),
}

impl Step {
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.into().into_bytes() }
    }

    /// Returns an error as the service writes it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::json(status, serde_json::json!({"__type": code, "message": message}).to_string())
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }

    /// Returns the bytes of an answer on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let Self::Answer { status, headers, body } = self else { panic!("no whole answer") };
        let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        [head.as_bytes(), b"\r\n", body].concat()
    }
}

/// A running server, whose threads end with the connections.
pub struct Scripted {
    pub endpoint: String,
    calls: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// The head and the body of a request.
pub type Request = (String, Vec<u8>);

impl Scripted {
    /// Starts a server that performs one step per request, in order, and then repeats the last one.
    pub fn start(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let (calls, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let server = Self { endpoint, calls: calls.clone(), requests: requests.clone() };
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (steps, calls, requests) = (steps.clone(), calls.clone(), requests.clone());
                // A client that disconnects ends only its own connection.
                thread::spawn(move || connection.and_then(|connection| serve(connection, &steps, &calls, &requests)));
            }
        });
        server
    }

    /// Returns the number of requests.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Returns every request.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

fn serve(connection: TcpStream, steps: &[Step], calls: &AtomicUsize, requests: &Mutex<Vec<Request>>) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::with_capacity(1, connection.try_clone()?), connection);
    loop {
        let Some((head, length)) = read_head(&mut reader)? else { return Ok(()) };
        let step = &steps[calls.fetch_add(1, Ordering::SeqCst).min(steps.len() - 1)];
        if let Step::Reset(bytes) = step {
            writer.write_all(bytes)?;
            // Give what was written time to arrive. The body remains unread, so closing resets the
            // connection.
            thread::sleep(Duration::from_millis(20));
            return Ok(());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        requests.lock().expect("no panic").push((head.clone(), body.clone()));
        match step {
            Step::Answer { .. } => writer.write_all(&step.bytes())?,
            Step::Raw(bytes) => return writer.write_all(bytes),
            Step::Silence(bytes) => {
                writer.write_all(bytes)?;
                // Wait until the client disconnects.
                reader.read_to_end(&mut Vec::new())?;
            }
            Step::Slowly(bytes, pause) => {
                for byte in bytes {
                    writer.write_all(&[*byte])?;
                    thread::sleep(*pause);
                }
            }
            Step::Endless => {
                writer.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                loop {
                    writer.write_all(b"4000\r\n")?;
                    writer.write_all(&[b' '; 0x4000])?;
                    writer.write_all(b"\r\n")?;
                }
            }
            Step::EchoHead(code) => {
                // Put the secret part first, so that it is not truncated with the rest.
                let mut lines: Vec<_> = head.lines().collect();
                lines.sort_by_key(|line| !line.contains("token"));
                writer.write_all(&Step::error(400, code, &lines.join(" ")).bytes())?;
            }
            Step::EchoBody(code) => {
                writer.write_all(&Step::error(400, code, &String::from_utf8_lossy(&body)).bytes())?;
            }
            Step::Reset(_) => {}
        }
    }
}

/// Returns the head of a request and the length of its body, or `None` if the connection has ended.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<(String, usize)>> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line == "\r\n" {
            return Ok(Some((head, length)));
        }
        head += &line;
    }
}
