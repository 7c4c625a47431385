//! `sealwax sync`.

#[cfg(feature = "object-store")]
mod down;
#[cfg(feature = "object-store")]
mod outcome;
#[cfg(feature = "object-store")]
mod up;

use crate::{arguments::SyncArguments, failure::Failure, objects::is_url, session::Session};

pub(crate) fn run(arguments: &SyncArguments, session: &Session) -> Result<(), Failure> {
    let SyncArguments { from, to, .. } = arguments;
    #[cfg(not(feature = "object-store"))]
    let _ = session;
    match (is_url(from), is_url(to)) {
        (false, false) => {
            let text = "neither is the URL of an object; use sealwax encrypt -r or decrypt -r for directories";
            Err(Failure::usage(format!("{} and {}: {text}", from.display(), to.display())))
        }
        (true, true) => {
            let text = "both are URLs of objects; synchronize through a directory";
            Err(Failure::usage(format!("{} and {}: {text}", from.display(), to.display())))
        }
        #[cfg(feature = "object-store")]
        (false, true) => up::run(arguments, session),
        #[cfg(feature = "object-store")]
        (true, false) => down::run(arguments, session),
        #[cfg(not(feature = "object-store"))]
        (_, is_to) => Err(crate::objects::refuse(if is_to { to } else { from })),
    }
}
