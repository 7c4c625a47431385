//! `sealwax encrypt`.

use sealwax::Client;

use crate::{
    arguments::EncryptArguments,
    failure::Failure,
    key_uri,
    streams::{Input, Output},
};

pub(crate) fn run(arguments: &EncryptArguments) -> Result<(), Failure> {
    let EncryptArguments { keys, suite, frame_length, streams } = arguments;
    let keyring = key_uri::keyring(&keys.keys)?;
    let context = keys.context()?;
    let input = Input::open(&streams.input)?;
    let mut output = Output::create(streams)?;
    if output.is_terminal() {
        return Err(Failure::usage("a message is no text for a terminal: say -o OUT, or redirect the output"));
    }

    let client = Client::builder().commitment_policy(keys.policy()).build();
    let mut encrypt = client.encrypt(&keyring).context(context).frame_length(*frame_length);
    if let Some(suite) = suite {
        encrypt = encrypt.suite(*suite);
    }
    let name = input.name.clone();
    encrypt.copy(input.with_progress(), &mut output).wait().map_err(|error| Failure::about(&name, error))?;
    output.commit()
}
