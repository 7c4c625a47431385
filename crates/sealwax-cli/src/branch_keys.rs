//! `sealwax branch-keys`: branch keys in Amazon DynamoDB.

use crate::{arguments::BranchKeysArguments, failure::Failure, session::Session};

#[cfg(not(feature = "aws"))]
pub(crate) fn run(_: &BranchKeysArguments, _: &Session) -> Result<(), Failure> {
    Err(Failure::usage("this sealwax was built without AWS KMS; build it with the feature aws"))
}

#[cfg(feature = "aws")]
pub(crate) use with_aws::run;

#[cfg(feature = "aws")]
mod with_aws {
    use std::fmt::Write;

    use sealwax::{Escaped, Operation};
    use sealwax_aws::{BranchKeyDescription, BranchKeyError, BranchKeyVersion};
    use serde_json::{Value, json};

    use super::{BranchKeysArguments, Failure, Session};
    use crate::{
        arguments::{BranchKeysCommand, context_of},
        key_uri::{Hierarchy, hierarchy},
    };

    pub(crate) fn run(arguments: &BranchKeysArguments, session: &Session) -> Result<(), Failure> {
        let BranchKeysArguments { command } = arguments;
        let Hierarchy { table, store, branch_key } = hierarchy(command.uri(), &session.aws)?;
        let branch_key = branch_key.as_deref();
        let needed = || branch_key.ok_or_else(|| Failure::usage("this command needs branch-key=ID in the key URI"));
        match command {
            BranchKeysCommand::CreateTable { .. } => {
                let create = async { table.create().await.map_err(BranchKeyError::from) };
                let arn = Operation::new(create).wait().map_err(failed)?;
                session.show(&json!({ "table_arn": arn }), || format!("{}\n", Escaped(&arn)))
            }
            BranchKeysCommand::Create { context, .. } => {
                let context = context_of("--context", context)?;
                let id = store.create_key(branch_key, &context).wait().map_err(failed)?;
                session.show(&json!({ "branch_key": id }), || format!("{}\n", Escaped(&id)))
            }
            BranchKeysCommand::Version { .. } => {
                let id = needed()?;
                let version = store.version_key(id).wait().map_err(failed)?;
                session.show(&json!({ "branch_key": id, "version": version }), || format!("{version}\n"))
            }
            BranchKeysCommand::List { .. } => {
                let ids = store.list_keys().wait().map_err(failed)?;
                let text = || ids.iter().map(|id| format!("{}\n", Escaped(id))).collect();
                session.show(&json!({ "branch_keys": ids }), text)
            }
            BranchKeysCommand::Describe { .. } => {
                let found = store.describe_key(needed()?).wait().map_err(failed)?;
                session.show(&as_json(&found), || as_text(&found))
            }
        }
    }

    /// Returns the failure for an error of the key store.
    fn failed(error: BranchKeyError) -> Failure {
        let code = match &error {
            BranchKeyError::Invalid(_) => 2,
            BranchKeyError::InvalidItem { .. }
            | BranchKeyError::HierarchyVersion { .. }
            | BranchKeyError::NotAuthentic { .. } => 3,
            _ => 4,
        };
        Failure::of(code, &error)
    }

    fn as_json(key: &BranchKeyDescription) -> Value {
        let version = |version: &BranchKeyVersion| json!({ "version": version.version, "created": version.created, "kms_key": version.kms_key });
        json!({
            "branch_key": key.id,
            "active": key.active,
            "encryption_context": key.context.iter().collect::<std::collections::BTreeMap<_, _>>(),
            "versions": key.versions.iter().map(version).collect::<Vec<_>>(),
        })
    }

    fn as_text(key: &BranchKeyDescription) -> String {
        let mut text = format!("branch key: {}\nactive: {}\n", Escaped(&key.id), key.active);
        for (name, value) in &key.context {
            let _ = writeln!(text, "context: {}={}", Escaped(name), Escaped(value));
        }
        for BranchKeyVersion { version, created, kms_key } in &key.versions {
            let _ = writeln!(text, "version: {version} {} {}", Escaped(created), Escaped(kms_key));
        }
        text
    }
}
