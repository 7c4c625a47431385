//! `sealwax inspect`.

use std::{collections::BTreeMap, fmt, path::Path};

use sealwax::{
    Client, ContentType, EncryptionContext, Escaped, Header,
    io::{BodyOutline, Outline},
};
use serde::Serialize;

use crate::{
    arguments::{InspectArguments, ReportArguments},
    directories::{Directory, Done, Existing, Task},
    failure::Failure,
    objects::is_url,
    operands, provider,
    session::Session,
    streams::{Input, is_standard},
    text::hex,
};

#[cfg(feature = "object-store")]
use crate::objects::Messages;

/// The number of bytes that are read of an object for its header.
#[cfg(feature = "object-store")]
const MAX_HEADER: u64 = 16 << 10;

pub(crate) fn run(arguments: &InspectArguments, session: &Session) -> Result<(), Failure> {
    let InspectArguments { tree, input, .. } = arguments;
    if tree.recursive {
        return run_recursive(arguments, session);
    }
    let inputs = operands::inputs(input.as_slice())?;
    let input = &inputs[0];
    if is_url(input) {
        return inspect_object(&client_of(arguments), session, input);
    }
    session.check_apart(None, [&**input].into_iter().filter(|path| !is_standard(path)))?;
    let input = Input::open_silently(input)?;
    inspect(&client_of(arguments), session, input, |report| report.to_string()).map(drop)
}

fn run_recursive(arguments: &InspectArguments, session: &Session) -> Result<(), Failure> {
    let InspectArguments { tree, input, .. } = arguments;
    let report = ReportArguments { verbose: false, metadata: None };
    let directory = Directory {
        task: Task::Inspect,
        tree,
        // In order, and one after the other.
        jobs: 1,
        report: &report,
        session,
        from: operands::directory(input.as_slice())?,
        to: None,
        existing: Existing::Keep,
    };
    let client = client_of(arguments);
    directory.run(|job, _, bar| {
        let input = Input::open_found(&job.from, &job.found, bar)?;
        let length = inspect(&client, session, input, |report| format!("{}:\n{report}\n", Escaped(report.input)))?;
        Ok(Done::Printed(length))
    })
}

fn client_of(arguments: &InspectArguments) -> Client {
    arguments.limits.apply(provider::client()).build()
}

/// Prints what a message says, and returns the length of its plaintext.
fn inspect(
    client: &Client,
    session: &Session,
    input: Input,
    text: impl FnOnce(&Report<'_>) -> String,
) -> Result<u64, Failure> {
    let name = input.name.clone();
    let required = input.bound.clone().unwrap_or_default();
    let outline = Outline::read(input, client.header_decoder()).map_err(|error| Failure::about(&name, error))?;
    let header = &outline.header;
    let sizes = outline.body.as_ref().map_or_else(|_| Sizes::default(), |body| Sizes::new(header, body));
    let report = Report::new(&name, header, sizes, &required);
    session.show(&report, || text(&report))?;
    outline.body.map(|body| body.plaintext_length).map_err(|error| Failure::about(&name, error))
}

/// Prints what the message of an object says. Of a message in the form of the tool only the header
/// is read, because the rest follows from the length.
#[cfg(feature = "object-store")]
fn inspect_object(client: &Client, session: &Session, url: &Path) -> Result<(), Failure> {
    let (object, messages) = (session.objects.object(url)?, session.objects.messages()?);
    let (begin, length) = session.objects.begin(&object, MAX_HEADER)?;
    let (name, required) = (object.name(), session.objects.context(&object)?);
    if let Ok((_, Some(received))) = client.header_decoder().push(&begin)
        && let Some(sizes) = Sizes::of_object(received.header(), length, &messages)
    {
        let report = Report::new(&name, received.header(), sizes, &required);
        return session.show(&report, || report.to_string());
    }
    inspect(client, session, session.input(url)?, |report| report.to_string()).map(drop)
}

#[cfg(not(feature = "object-store"))]
fn inspect_object(_: &Client, session: &Session, url: &Path) -> Result<(), Failure> {
    session.input(url).map(drop)
}

/// What is shown of a message.
#[derive(Serialize)]
struct Report<'a> {
    input: &'a str,
    suite: String,
    suite_name: &'static str,
    version: u8,
    committing: bool,
    signed: bool,
    message_id: String,
    encryption_context: BTreeMap<&'a str, &'a str>,
    /// The pairs that an object is bound with, and that no message stores.
    required_encryption_context: BTreeMap<&'a str, &'a str>,
    encrypted_data_keys: Vec<Key<'a>>,
    body: &'static str,
    frame_length: Option<u32>,
    header_length: usize,
    #[serde(flatten)]
    sizes: Sizes,
    verified: bool,
}

#[derive(Serialize)]
struct Key<'a> {
    provider_id: &'a str,
    /// `None` if the provider information is not text.
    key_name: Option<&'a str>,
    provider_info: String,
    ciphertext_length: usize,
}

/// The lengths, which are unknown if the body is malformed or truncated.
#[derive(Default, Serialize)]
struct Sizes {
    message_length: Option<u64>,
    body_length: Option<u64>,
    footer_length: Option<u64>,
    plaintext_length: Option<u64>,
    frames: Option<u32>,
}

impl<'a> Report<'a> {
    fn new(input: &'a str, header: &'a Header, sizes: Sizes, required: &'a EncryptionContext) -> Self {
        let suite = header.suite();
        let key = |key: &'a sealwax::EncryptedDataKey| Key {
            provider_id: key.provider_id(),
            key_name: key.key_name(),
            provider_info: hex(key.provider_info()),
            ciphertext_length: key.ciphertext().len(),
        };
        Self {
            input,
            suite: format!("{:#06x}", suite.id()),
            suite_name: suite.name(),
            version: suite.version().byte(),
            committing: suite.is_committing(),
            signed: suite.is_signed(),
            message_id: hex(header.message_id()),
            encryption_context: header.context().iter().collect(),
            required_encryption_context: required.iter().collect(),
            encrypted_data_keys: header.encrypted_data_keys().iter().map(key).collect(),
            body: match header.content_type() {
                ContentType::Framed { .. } => "framed",
                ContentType::Unframed => "unframed",
            },
            frame_length: header.content_type().frame_length(),
            header_length: header.length(),
            sizes,
            verified: false,
        }
    }
}

impl Sizes {
    fn new(header: &Header, body: &BodyOutline) -> Self {
        let footer_length = body.signature_length.map_or(0, |length| 2 + length);
        Self {
            message_length: Some(header.length() as u64 + body.length + footer_length),
            body_length: Some(body.length),
            footer_length: Some(footer_length),
            plaintext_length: Some(body.plaintext_length),
            frames: Some(body.frames),
        }
    }
}

#[cfg(feature = "object-store")]
impl Sizes {
    /// Returns the lengths of a message in the form of the objects of the tool; `None` for any other.
    fn of_object(header: &Header, length: u64, messages: &Messages) -> Option<Self> {
        let body_length = length.checked_sub(header.length() as u64)?;
        let plaintext_length = messages.plaintext_length(length)?;
        let (header_length, frame_length) = messages.layout();
        let is_ours = (header.length() as u64, header.content_type().frame_length(), header.suite().is_signed())
            == (header_length, Some(frame_length), false);
        // A frame adds 32 bytes, and the last one 8 more.
        let frames = (body_length - plaintext_length).checked_sub(8)? / 32;
        is_ours.then_some(Self {
            message_length: Some(length),
            body_length: Some(body_length),
            footer_length: Some(0),
            plaintext_length: Some(plaintext_length),
            frames: Some(u32::try_from(frames).ok()?),
        })
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "suite        {} {}", self.suite, self.suite_name)?;
        writeln!(f, "version      {}", self.version)?;
        writeln!(f, "message ID   {}", self.message_id)?;
        if self.encryption_context.is_empty() {
            writeln!(f, "context      empty")?;
        }
        for (position, (key, value)) in self.encryption_context.iter().enumerate() {
            let title = if position == 0 { "context" } else { "" };
            writeln!(f, "{title:<12} {} = {}", Escaped(key), Escaped(value))?;
        }
        for (position, (key, value)) in self.required_encryption_context.iter().enumerate() {
            let title = if position == 0 { "required" } else { "" };
            writeln!(f, "{title:<12} {} = {}", Escaped(key), Escaped(value))?;
        }
        for (position, key) in self.encrypted_data_keys.iter().enumerate() {
            let title = if position == 0 { "data keys" } else { "" };
            let name =
                key.key_name.map_or_else(|| format!("(hex) {}", key.provider_info), |name| Escaped(name).to_string());
            writeln!(f, "{title:<12} {position}: provider {}, key {name}", Escaped(key.provider_id))?;
        }
        match self.frame_length {
            Some(length) => writeln!(f, "body         framed, {length} bytes per frame")?,
            None => writeln!(f, "body         unframed")?,
        }
        write!(f, "sizes        header {}", self.header_length)?;
        if let Sizes {
            message_length: Some(message_length),
            body_length: Some(body_length),
            footer_length: Some(footer_length),
            plaintext_length: Some(plaintext_length),
            frames: Some(frames),
        } = self.sizes
        {
            write!(f, ", body {body_length}, footer {footer_length}, message {message_length} bytes; ")?;
            write!(f, "plaintext {plaintext_length} bytes")?;
            match frames {
                0 => {}
                1 => write!(f, " in 1 frame")?,
                frames => write!(f, " in {frames} frames")?,
            }
        }
        writeln!(f)?;
        writeln!(f, "None of this is verified; sealwax verify does that, with a key.")
    }
}
