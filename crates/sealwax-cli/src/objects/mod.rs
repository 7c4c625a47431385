//! Objects in stores, such as `s3://BUCKET/KEY`, which commands read and write like files.

mod url;

#[cfg(feature = "object-store")]
mod connect;
#[cfg(feature = "object-store")]
mod download;
#[cfg(feature = "object-store")]
mod error;
#[cfg(feature = "object-store")]
mod object;
#[cfg(all(feature = "aws", feature = "object-store"))]
mod profile;
#[cfg(feature = "object-store")]
mod ranges;
#[cfg(feature = "object-store")]
mod stores;
#[cfg(feature = "object-store")]
mod upload;
#[cfg(not(feature = "object-store"))]
mod without;

#[cfg(feature = "object-store")]
pub(crate) use self::{
    download::Version,
    object::{Listed, Object},
    stores::Objects,
    upload::Mode,
};
#[cfg(feature = "object-store")]
pub(crate) use sealwax_object_store::Messages;
pub(crate) use url::{is_url, with_bound};
#[cfg(not(feature = "object-store"))]
pub(crate) use without::{Messages, Objects, refuse};

use sealwax::Encrypt;

use crate::arguments::MessageArguments;

/// The form of new messages.
pub(crate) enum Form<'a> {
    /// The one that the command line describes.
    Given(&'a MessageArguments),
    /// That of objects.
    Objects(Messages),
}

impl Form<'_> {
    pub(crate) fn apply<'e>(&self, encrypt: Encrypt<'e>) -> Encrypt<'e> {
        match self {
            Self::Given(message) => message.apply(encrypt),
            Self::Objects(messages) => messages.form(encrypt),
        }
    }
}
