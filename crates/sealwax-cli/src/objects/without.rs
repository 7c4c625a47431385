//! The tool without object stores.

use std::path::Path;

use sealwax::{Encrypt, materials::MaterialsManager};

use crate::{
    arguments::{AwsArguments, ObjectArguments},
    cleanup::Cleanup,
    failure::Failure,
    notes::Notes,
    streams::{Input, Output},
};

/// The stores, of which there are none.
pub(crate) struct Objects;

/// The form of the messages of objects, of which there are none.
pub(crate) enum Messages {}

impl Messages {
    pub(crate) fn form<'a>(&self, _: Encrypt<'a>) -> Encrypt<'a> {
        match *self {}
    }
}

impl Objects {
    pub(crate) fn new(_: ObjectArguments, _: &AwsArguments) -> Self {
        Self
    }

    pub(crate) fn open(&self, url: &Path, _: Notes) -> Result<Input, Failure> {
        Err(refuse(url))
    }

    pub(crate) fn create(&self, url: &Path, _: bool, _: &Cleanup) -> Result<Output, Failure> {
        Err(refuse(url))
    }

    pub(crate) fn in_place(&self, url: &Path, _: Notes, _: &Cleanup) -> Result<(Input, Output), Failure> {
        Err(refuse(url))
    }

    pub(crate) fn messages(&self) -> Result<Messages, Failure> {
        Err(refuse(Path::new("s3://")))
    }

    pub(crate) fn manager(&self, _: Box<dyn MaterialsManager>) -> Result<Box<dyn MaterialsManager>, Failure> {
        Err(refuse(Path::new("s3://")))
    }
}

/// Returns the failure for a URL.
pub(crate) fn refuse(url: &Path) -> Failure {
    let text = "this sealwax was built without object stores; build it with the feature object-store";
    Failure::usage(format!("{}: {text}", url.display()))
}
