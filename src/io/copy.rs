//! Copies from a source to a sink.

use std::io::{Read, Write};

use super::read_some;
use crate::{
    error::Result,
    message::{Decryptor, Encryptor, Finished, Machine},
};
#[cfg(feature = "fs")]
use {
    crate::error::Error,
    std::io::{Seek, SeekFrom},
};

/// Encrypts a source into a sink.
pub(crate) fn copy_encrypting(source: impl Read, mut sink: impl Write, machine: Encryptor) -> Result<()> {
    let rest = pump(source, &mut sink, machine)?;
    sink.write_all(&rest)?;
    Ok(sink.flush()?)
}

/// Decrypts a source into a sink, frame by frame. What the sink has received is a complete message
/// only once this has succeeded.
///
/// `ahead` holds the bytes of the body that were already read.
pub(crate) fn copy_decrypting(
    ahead: &[u8],
    source: impl Read,
    mut sink: impl Write,
    machine: Decryptor,
) -> Result<Finished> {
    let finished = pump(ahead.chain(source), &mut sink, machine)?;
    sink.write_all(&finished.plaintext)?;
    sink.flush()?;
    Ok(finished)
}

/// The number of bytes of a signed message that are spooled in memory. A longer message is spooled
/// to a temporary file.
#[cfg(feature = "fs")]
const SPOOLED_IN_MEMORY: usize = 1 << 20;

/// Decrypts a signed source into a sink, which receives nothing before the signature has been
/// verified.
///
/// The first pass verifies the message and spools its ciphertext, in memory or in an unnamed
/// temporary file, which nothing else can change. The second pass, over the spool, releases the
/// plaintext, which itself is never stored.
#[cfg(feature = "fs")]
pub(crate) fn copy_verified(
    ahead: &[u8],
    source: impl Read,
    mut sink: impl Write,
    machine: Decryptor,
) -> Result<Finished> {
    let second_pass = machine.second_pass().ok_or(Error::Ended)?;
    let mut spool = tempfile::SpooledTempFile::new(SPOOLED_IN_MEMORY);
    let source = Tee { source: ahead.chain(source), copy: &mut spool };
    let first = pump(source, &mut std::io::sink(), machine)?;
    spool.seek(SeekFrom::Start(0))?;
    let finished = pump(spool.take(first.body_length), &mut sink, second_pass.after(&first))?;
    sink.write_all(&finished.plaintext)?;
    sink.flush()?;
    Ok(finished)
}

/// Moves all input from a source through a machine into a sink. Does not write the output that the
/// machine returns at the end of the stream.
fn pump<M: Machine>(mut source: impl Read, sink: &mut impl Write, mut machine: M) -> Result<M::End> {
    loop {
        machine.make_ready()?;
        match read_some(&mut source, machine.spare()) {
            Ok(count @ 1..) => machine.advance(count)?,
            // The output of all input before the end, or before an error, is written first, where
            // the other threads left it instead of collected; a fault in that input takes
            // precedence over the error.
            ended => {
                machine.settle()?;
                write_ready(&mut machine, sink)?;
                ended?;
                return machine.finish();
            }
        }
        write_ready(&mut machine, sink)?;
    }
}

/// Writes all output that is ready.
fn write_ready(machine: &mut impl Machine, sink: &mut impl Write) -> Result<()> {
    while !machine.output().is_empty() {
        let ready = machine.output().len();
        sink.write_all(machine.output())?;
        machine.consume(ready);
    }
    Ok(())
}

/// A reader that writes a copy of all that it reads.
#[cfg(feature = "fs")]
struct Tee<'a, R, W> {
    source: R,
    copy: &'a mut W,
}

#[cfg(feature = "fs")]
impl<R: Read, W: Write> Read for Tee<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.copy.write_all(&buffer[..count])?;
        Ok(count)
    }
}
