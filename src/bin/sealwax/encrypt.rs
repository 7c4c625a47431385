//! `sealwax encrypt`.

use crate::{
    arguments::EncryptArguments,
    failure::Failure,
    key_uri, provider, report,
    streams::{Input, Output},
};

pub(crate) fn run(arguments: &EncryptArguments) -> Result<(), Failure> {
    let EncryptArguments { keys, suite, quorum, frame_length, speed, report, streams } = arguments;
    let manager = keys.manager(key_uri::keyring(&keys.keys, *quorum)?)?;
    let context = keys.context()?;
    let input = Input::open(&streams.input)?;
    let mut output = Output::create(streams)?;
    if output.is_terminal() {
        return Err(Failure::usage("a message is no text for a terminal: say -o OUT, or redirect the output"));
    }

    let client = speed.apply(provider::client().commitment_policy(keys.policy())).build();
    let mut encrypt = client.encrypt_with(&*manager).context(context).frame_length(*frame_length);
    if let Some(suite) = suite {
        encrypt = encrypt.suite(*suite);
    }
    let name = input.name.clone();
    let sealed = encrypt.copy(input.with_progress(), &mut output).wait();
    let sealed = sealed.map_err(|error| Failure::about(&name, error))?;
    let output_name = output.name.clone();
    output.commit()?;
    report::sealed(report, &sealed, &name, &output_name);
    Ok(())
}
