//! Derivation of the keys that wrap data keys.

use hmac::{Hmac, KeyInit, Mac};
use sealwax::{Error, Result, SecretBytes};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// The label of the derivation, which is also the key provider id in messages.
pub(super) const LABEL: &str = "aws-kms-hierarchy";

/// The KDF in counter mode of SP 800-108 with HMAC-SHA-256, keyed with a branch key once for all its
/// derivations.
pub(super) struct Derivation(Hmac<Sha256>);

impl Derivation {
    pub(super) fn new(branch_key: &SecretBytes) -> Result<Self> {
        let keyed = Hmac::new_from_slice(branch_key.as_bytes());
        Ok(Self(keyed.map_err(|_| Error::Provider("HMAC takes keys of any length"))?))
    }

    /// Derives the key of one wrapping. One block is enough, and the salt takes the place of the
    /// context.
    pub(super) fn key(&self, salt: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut hmac = self.0.clone();
        // The counter, the label, a separator, the salt, and the length of the output in bits.
        for part in [&1_u32.to_be_bytes()[..], LABEL.as_bytes(), &[0], salt, &256_u32.to_be_bytes()] {
            hmac.update(part);
        }
        let mut output = hmac.finalize().into_bytes();
        let key = Zeroizing::new(output.into());
        output.as_mut_slice().zeroize();
        key
    }
}
