//! `sealwax decrypt`.

use crate::{
    arguments::DecryptArguments,
    failure::Failure,
    key_uri, provider, report,
    streams::{Input, Output},
};

pub(crate) fn run(arguments: &DecryptArguments) -> Result<(), Failure> {
    let DecryptArguments { keys, limits, release_unverified, speed, report, streams } = arguments;
    let manager = keys.manager(key_uri::keyring(&keys.keys, None)?)?;
    let context = keys.context()?;
    let input = Input::open(&streams.input)?;
    let mut output = Output::create(streams)?;

    let client = speed.apply(limits.apply(provider::client().commitment_policy(keys.policy()))).build();
    let decrypt = client.decrypt_with(&*manager).context(context);
    let name = input.name.clone();
    let source = input.with_progress();
    // A file appears only once everything is verified; what goes to standard output is seen at once.
    let outcome = if output.shows_at_once() && !release_unverified {
        decrypt.copy(source, &mut output).wait()
    } else {
        decrypt.copy_unverified(source, &mut output).wait()
    };
    let opened = outcome.map_err(|error| Failure::about(&name, error))?;
    let output_name = output.name.clone();
    output.commit()?;
    report::opened(report, &opened, &name, &output_name);
    Ok(())
}
