//! Output as JSON, one object per line.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use sealwax::Escaped;
use serde::Serialize;

use crate::text::{STANDARD, is_standard};

/// Where the JSON of a command goes.
pub(crate) struct Json {
    target: PathBuf,
    file: Mutex<Box<dyn Write + Send>>,
}

impl Json {
    /// Opens standard output, or a file or file descriptor such as `/dev/fd/3`.
    pub(crate) fn open(target: &Path) -> io::Result<Self> {
        let file: Box<dyn Write + Send> = match is_standard(target) {
            true => Box::new(io::stdout()),
            false => {
                let mut options = File::options();
                options.append(true).create(true);
                // It may have a generated passphrase, or names that are private.
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                check_is_log(target)?;
                Box::new(options.open(target)?)
            }
        };
        Ok(Self { target: target.to_owned(), file: Mutex::new(file) })
    }

    /// Returns the output that a command line asks for that cannot be parsed.
    pub(crate) fn of_invalid(arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut options = arguments.take_while(|argument| argument != "--");
        let target = options.find_map(|option| {
            let option = option.to_str()?.strip_prefix("--json")?;
            if option.is_empty() { Some(STANDARD) } else { option.strip_prefix('=') }.map(PathBuf::from)
        })?;
        Self::open(&target).ok()
    }

    /// Returns the name of the output for an error.
    pub(crate) fn name(&self) -> String {
        if self.is_standard() { "standard output".to_owned() } else { self.target.display().to_string() }
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    pub(crate) fn is_standard(&self) -> bool {
        is_standard(&self.target)
    }

    /// Prints a value in one line.
    pub(crate) fn print(&self, value: &impl Serialize) -> io::Result<()> {
        let line = line(value)?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes())?;
        file.flush()
    }
}

/// Fails for a regular file that has something else than lines of JSON, such as a message.
fn check_is_log(path: &Path) -> io::Result<()> {
    let mut first = [b'{'];
    if fs::metadata(path).is_ok_and(|found| found.is_file())
        && let Ok(mut file) = File::open(path)
        && file.read(&mut first)? > 0
        && first != [b'{']
    {
        return Err(io::Error::other("the file exists and has no lines of JSON; choose another file"));
    }
    Ok(())
}

/// Returns a value as one line of JSON, with escapes for characters that could act on a terminal.
pub(crate) fn line(value: &impl Serialize) -> io::Result<String> {
    let text = serde_json::to_string(value)?;
    let mut line = String::with_capacity(text.len() + 1);
    for letter in text.chars() {
        // JSON itself has no such characters outside of strings.
        let is_plain =
            letter == '"' || letter == '\\' || Escaped(letter.encode_utf8(&mut [0; 4])).to_string().len() <= 4;
        if is_plain {
            line.push(letter);
        } else {
            line.extend(letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_survives_and_none_acts_on_a_terminal() {
        for letter in (0..=0x10_ffff).filter_map(char::from_u32) {
            let text = format!("a{letter}b");
            let line = line(&text).unwrap();
            assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
            let line = line.strip_suffix('\n').unwrap();
            assert_eq!(Escaped(line).to_string(), line, "{letter:?}");
        }
    }

    #[test]
    fn an_invalid_command_line_may_ask_for_json() {
        let asks = |words: &str| Json::of_invalid(words.split(' ').map(Into::into)).map(|json| json.target);
        assert_eq!(asks("encrypt --nonsense --json"), Some("-".into()));
        assert_eq!(asks("encrypt --json=/dev/null x"), Some("/dev/null".into()));
        assert_eq!(asks("encrypt --jsonx -- --json"), None);
    }
}
