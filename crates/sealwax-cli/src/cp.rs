//! `sealwax cp`.

use sealwax::Escaped;

use crate::{
    arguments::CpArguments, encrypt::Sealing, failure::Failure, keyring, metadata::Metadata, objects::is_url,
    opening::Opening, reencrypt::Resealing, session::Session,
};

pub(crate) fn run(arguments: &CpArguments, session: &Session) -> Result<(), Failure> {
    let CpArguments { keys, force, limits, report, from, to } = arguments;
    session.check_apart(report.metadata.as_deref(), [from, to].map(|path| &**path))?;
    session.check_output([&**to], report.metadata.as_deref())?;
    // The input and the output are opened before the keys.
    let input = session.input(from)?;
    let to_encrypt = || keyring::to_encrypt(session, &keys.keys, None, false);
    let (metadata, done) = match (is_url(from), is_url(to)) {
        (false, true) => {
            let output = session.output_for_message(to, true, *force)?;
            let sealing = Sealing::of_objects(session, keys, to_encrypt()?, false)?;
            (Metadata::open(report.metadata.as_deref())?, sealing.seal(input, output)?)
        }
        (true, false) => {
            let output = session.output(to, true, *force)?;
            let opening = Opening::of_objects(session, keys, limits, false)?;
            (Metadata::open(report.metadata.as_deref())?, opening.open(input, output, false)?)
        }
        (true, true) => {
            let output = session.output_for_message(to, true, *force)?;
            let resealing = Resealing::of_objects(session, keys, limits)?;
            (Metadata::open(report.metadata.as_deref())?, resealing.reseal(input, output, |_| Ok(()))?)
        }
        (false, false) => {
            let text = "neither is the URL of an object; use sealwax encrypt or decrypt for files";
            return Err(Failure::usage(format!(
                "{} and {}: {text}",
                Escaped(&from.display().to_string()),
                Escaped(&to.display().to_string())
            )));
        }
    };
    done.print(report, session, metadata.as_ref())
}
