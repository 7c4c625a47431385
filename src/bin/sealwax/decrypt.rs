//! `sealwax decrypt`.

use sealwax::Client;

use crate::{
    arguments::DecryptArguments,
    failure::Failure,
    key_uri,
    streams::{Input, Output},
};

pub(crate) fn run(arguments: &DecryptArguments) -> Result<(), Failure> {
    let DecryptArguments { keys, limits, release_unverified, streams } = arguments;
    let keyring = key_uri::keyring(&keys.keys)?;
    let context = keys.context()?;
    let input = Input::open(&streams.input)?;
    let mut output = Output::create(streams)?;

    let client = limits.apply(Client::builder().commitment_policy(keys.policy())).build();
    let decrypt = client.decrypt(&keyring).context(context);
    let name = input.name.clone();
    let source = input.with_progress();
    // A file appears only once everything is verified; what goes to standard output is seen at once.
    let outcome = if output.shows_at_once() && !release_unverified {
        decrypt.copy(source, &mut output).wait()
    } else {
        decrypt.copy_unverified(source, &mut output).wait()
    };
    outcome.map_err(|error| Failure::about(&name, error))?;
    output.commit()
}
