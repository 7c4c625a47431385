//! The algorithm suites: one table, from which everything else about a suite is read.

use std::fmt;

/// An algorithm suite: which cipher, key derivation, commitment and signature a message uses.
///
/// All eleven suites of the AWS Encryption SDK are here. The two that commit to their key (`0x0478` and `0x0578`) write
/// message format version 2 and are the ones to use; the other nine write version 1 and exist to read, or to
/// exchange messages with, older systems.
///
/// Specification: framework/algorithm-suites, "Supported Algorithm Suites" and the settings tables that follow it.
///
/// ```
/// use sealwax::AlgorithmSuite;
///
/// let suite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;
/// assert_eq!(suite.id(), 0x0578);
/// assert_eq!(suite.to_string(), "0x0578 ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384");
/// assert!(suite.is_committing() && suite.is_signed());
/// assert_eq!(AlgorithmSuite::from_id(0x0478).map(|suite| suite.is_signed()), Some(false));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AlgorithmSuite {
    /// `0x0014`: AES-128-GCM, the data key used as it is.
    Aes128GcmIv12Tag16NoKdf,
    /// `0x0046`: AES-192-GCM, the data key used as it is.
    Aes192GcmIv12Tag16NoKdf,
    /// `0x0078`: AES-256-GCM, the data key used as it is.
    Aes256GcmIv12Tag16NoKdf,
    /// `0x0114`: AES-128-GCM with HKDF-SHA256.
    Aes128GcmIv12Tag16HkdfSha256,
    /// `0x0146`: AES-192-GCM with HKDF-SHA256.
    Aes192GcmIv12Tag16HkdfSha256,
    /// `0x0178`: AES-256-GCM with HKDF-SHA256.
    Aes256GcmIv12Tag16HkdfSha256,
    /// `0x0214`: AES-128-GCM with HKDF-SHA256, signed with ECDSA P-256.
    Aes128GcmIv12Tag16HkdfSha256EcdsaP256,
    /// `0x0346`: AES-192-GCM with HKDF-SHA384, signed with ECDSA P-384.
    Aes192GcmIv12Tag16HkdfSha384EcdsaP384,
    /// `0x0378`: AES-256-GCM with HKDF-SHA384, signed with ECDSA P-384.
    Aes256GcmIv12Tag16HkdfSha384EcdsaP384,
    /// `0x0478`: AES-256-GCM with HKDF-SHA512 and key commitment.
    Aes256GcmHkdfSha512CommitKey,
    /// `0x0578`: AES-256-GCM with HKDF-SHA512 and key commitment, signed with ECDSA P-384. The default.
    Aes256GcmHkdfSha512CommitKeyEcdsaP384,
}

/// A hash function that a suite names.
///
/// ```
/// assert_eq!(sealwax::crypto::HashAlgorithm::Sha384.output_length(), 48);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// The length of a digest in bytes.
    ///
    /// ```
    /// assert_eq!(sealwax::crypto::HashAlgorithm::Sha512.output_length(), 64);
    /// ```
    #[must_use]
    pub const fn output_length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// A signature algorithm that a suite names: ECDSA over a NIST curve with the hash of matching strength.
///
/// ```
/// use sealwax::crypto::{HashAlgorithm, SignatureAlgorithm};
///
/// assert_eq!(SignatureAlgorithm::EcdsaP384.hash(), HashAlgorithm::Sha384);
/// assert_eq!(SignatureAlgorithm::EcdsaP384.signature_length(), 103);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// ECDSA with P-256 and SHA-256.
    EcdsaP256,
    /// ECDSA with P-384 and SHA-384.
    EcdsaP384,
}

impl SignatureAlgorithm {
    /// The hash that is signed.
    ///
    /// ```
    /// use sealwax::crypto::{HashAlgorithm, SignatureAlgorithm};
    /// assert_eq!(SignatureAlgorithm::EcdsaP256.hash(), HashAlgorithm::Sha256);
    /// ```
    #[must_use]
    pub const fn hash(self) -> HashAlgorithm {
        match self {
            Self::EcdsaP256 => HashAlgorithm::Sha256,
            Self::EcdsaP384 => HashAlgorithm::Sha384,
        }
    }

    /// The length in bytes of a compressed public key: one byte for the sign of y, and x.
    ///
    /// ```
    /// assert_eq!(sealwax::crypto::SignatureAlgorithm::EcdsaP384.public_key_length(), 49);
    /// ```
    #[must_use]
    pub const fn public_key_length(self) -> usize {
        match self {
            Self::EcdsaP256 => 33,
            Self::EcdsaP384 => 49,
        }
    }

    /// The length in bytes of every signature that is written: DER with one of r and s a byte longer than the other.
    ///
    /// A constant length is what the other SDKs write too; reading accepts any valid DER.
    ///
    /// ```
    /// assert_eq!(sealwax::crypto::SignatureAlgorithm::EcdsaP256.signature_length(), 71);
    /// ```
    #[must_use]
    pub const fn signature_length(self) -> usize {
        match self {
            Self::EcdsaP256 => 71,
            Self::EcdsaP384 => 103,
        }
    }

    /// The length in bytes of the longest DER signature there is.
    pub(crate) const fn max_signature_length(self) -> usize {
        self.signature_length() + 1
    }
}

/// How a suite makes the key that encrypts the message out of the data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyDerivation {
    /// The data key itself.
    Identity,
    /// HKDF without salt, with suite id and message id as info.
    Hkdf(HashAlgorithm),
    /// HKDF with the message id as salt, which also yields the commit key.
    HkdfCommitting(HashAlgorithm),
}

/// The message format version, which follows from the suite.
///
/// ```
/// use sealwax::{AlgorithmSuite, MessageVersion};
/// assert_eq!(AlgorithmSuite::Aes256GcmHkdfSha512CommitKey.version(), MessageVersion::V2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageVersion {
    /// Version 1.0: a 16-byte message id; the header authentication carries its IV.
    V1,
    /// Version 2.0: a 32-byte message id; the header carries the commit key.
    V2,
}

impl MessageVersion {
    /// The length of a message id in bytes.
    ///
    /// ```
    /// assert_eq!(sealwax::MessageVersion::V2.message_id_length(), 32);
    /// ```
    #[must_use]
    pub const fn message_id_length(self) -> usize {
        match self {
            Self::V1 => 16,
            Self::V2 => 32,
        }
    }

    /// The version byte on the wire.
    ///
    /// ```
    /// assert_eq!(sealwax::MessageVersion::V1.byte(), 1);
    /// ```
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// The length in bytes of the commit key, the suite data of a committing suite.
pub(crate) const COMMIT_KEY_LENGTH: usize = 32;

struct Row {
    id: u16,
    name: &'static str,
    key_length: usize,
    derivation: KeyDerivation,
    signature: Option<SignatureAlgorithm>,
}

/// In the order of the enum, so that a suite is its own index.
#[rustfmt::skip]
const TABLE: [Row; 11] = {
    use HashAlgorithm::{Sha256, Sha384, Sha512};
    use KeyDerivation::{Hkdf, HkdfCommitting, Identity};
    use SignatureAlgorithm::{EcdsaP256, EcdsaP384};
    const fn row(id: u16, name: &'static str, key_length: usize, derivation: KeyDerivation, signature: Option<SignatureAlgorithm>) -> Row {
        Row { id, name, key_length, derivation, signature }
    }
    [
        row(0x0014, "ALG_AES_128_GCM_IV12_TAG16_NO_KDF",                 16, Identity,               None),
        row(0x0046, "ALG_AES_192_GCM_IV12_TAG16_NO_KDF",                 24, Identity,               None),
        row(0x0078, "ALG_AES_256_GCM_IV12_TAG16_NO_KDF",                 32, Identity,               None),
        row(0x0114, "ALG_AES_128_GCM_IV12_TAG16_HKDF_SHA256",            16, Hkdf(Sha256),           None),
        row(0x0146, "ALG_AES_192_GCM_IV12_TAG16_HKDF_SHA256",            24, Hkdf(Sha256),           None),
        row(0x0178, "ALG_AES_256_GCM_IV12_TAG16_HKDF_SHA256",            32, Hkdf(Sha256),           None),
        row(0x0214, "ALG_AES_128_GCM_IV12_TAG16_HKDF_SHA256_ECDSA_P256", 16, Hkdf(Sha256),           Some(EcdsaP256)),
        row(0x0346, "ALG_AES_192_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384", 24, Hkdf(Sha384),           Some(EcdsaP384)),
        row(0x0378, "ALG_AES_256_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384", 32, Hkdf(Sha384),           Some(EcdsaP384)),
        row(0x0478, "ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY",            32, HkdfCommitting(Sha512), None),
        row(0x0578, "ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384", 32, HkdfCommitting(Sha512), Some(EcdsaP384)),
    ]
};

impl AlgorithmSuite {
    /// Every suite, in the order of their ids.
    ///
    /// ```
    /// assert_eq!(sealwax::AlgorithmSuite::ALL.len(), 11);
    /// ```
    pub const ALL: [Self; 11] = [
        Self::Aes128GcmIv12Tag16NoKdf,
        Self::Aes192GcmIv12Tag16NoKdf,
        Self::Aes256GcmIv12Tag16NoKdf,
        Self::Aes128GcmIv12Tag16HkdfSha256,
        Self::Aes192GcmIv12Tag16HkdfSha256,
        Self::Aes256GcmIv12Tag16HkdfSha256,
        Self::Aes128GcmIv12Tag16HkdfSha256EcdsaP256,
        Self::Aes192GcmIv12Tag16HkdfSha384EcdsaP384,
        Self::Aes256GcmIv12Tag16HkdfSha384EcdsaP384,
        Self::Aes256GcmHkdfSha512CommitKey,
        Self::Aes256GcmHkdfSha512CommitKeyEcdsaP384,
    ];

    /// The suite with this id on the wire, if there is one.
    ///
    /// ```
    /// assert!(sealwax::AlgorithmSuite::from_id(0x0578).is_some());
    /// assert!(sealwax::AlgorithmSuite::from_id(0x0000).is_none());
    /// ```
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.id() == id)
    }

    const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The id on the wire, such as `0x0578`.
    ///
    /// ```
    /// assert_eq!(sealwax::AlgorithmSuite::Aes128GcmIv12Tag16NoKdf.id(), 0x0014);
    /// ```
    #[must_use]
    pub const fn id(self) -> u16 {
        self.row().id
    }

    /// The name in the specification.
    ///
    /// ```
    /// use sealwax::AlgorithmSuite;
    /// assert_eq!(AlgorithmSuite::Aes256GcmHkdfSha512CommitKey.name(), "ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY");
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The length of the data key in bytes, which is also that of the key derived from it.
    ///
    /// ```
    /// assert_eq!(sealwax::AlgorithmSuite::Aes192GcmIv12Tag16HkdfSha256.data_key_length(), 24);
    /// ```
    #[must_use]
    pub const fn data_key_length(self) -> usize {
        self.row().key_length
    }

    /// The message format version that goes with the suite.
    ///
    /// ```
    /// use sealwax::{AlgorithmSuite, MessageVersion};
    /// assert_eq!(AlgorithmSuite::Aes256GcmIv12Tag16NoKdf.version(), MessageVersion::V1);
    /// ```
    #[must_use]
    pub const fn version(self) -> MessageVersion {
        if self.is_committing() { MessageVersion::V2 } else { MessageVersion::V1 }
    }

    /// Whether a message can be opened by one data key only (key commitment).
    ///
    /// ```
    /// assert!(!sealwax::AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha384EcdsaP384.is_committing());
    /// ```
    #[must_use]
    pub const fn is_committing(self) -> bool {
        matches!(self.row().derivation, KeyDerivation::HkdfCommitting(_))
    }

    /// Whether a message ends with a signature.
    ///
    /// ```
    /// assert!(sealwax::AlgorithmSuite::Aes128GcmIv12Tag16HkdfSha256EcdsaP256.is_signed());
    /// ```
    #[must_use]
    pub const fn is_signed(self) -> bool {
        self.row().signature.is_some()
    }

    /// The signature algorithm, if the suite signs.
    ///
    /// ```
    /// use sealwax::{AlgorithmSuite, crypto::SignatureAlgorithm};
    /// let suite = AlgorithmSuite::Aes128GcmIv12Tag16HkdfSha256EcdsaP256;
    /// assert_eq!(suite.signature(), Some(SignatureAlgorithm::EcdsaP256));
    /// ```
    #[must_use]
    pub const fn signature(self) -> Option<SignatureAlgorithm> {
        self.row().signature
    }

    pub(crate) const fn derivation(self) -> KeyDerivation {
        self.row().derivation
    }
}

impl fmt::Display for AlgorithmSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x} {}", self.id(), self.name())
    }
}

/// Which suites a client writes and reads, by whether they commit to their key.
///
/// Specification: framework/commitment-policy, and client-apis/client, "Commitment Policy".
///
/// ```
/// use sealwax::{AlgorithmSuite, CommitmentPolicy};
///
/// let policy = CommitmentPolicy::default();
/// assert_eq!(policy, CommitmentPolicy::RequireEncryptRequireDecrypt);
/// assert!(!policy.allows_decrypt(AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha256));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CommitmentPolicy {
    /// Writes only suites without commitment, reads all. Only for writing to readers that know nothing of version 2.
    ForbidEncryptAllowDecrypt,
    /// Writes only committing suites, reads all. For the time in which old messages are still about.
    RequireEncryptAllowDecrypt,
    /// Writes and reads committing suites only. The default.
    #[default]
    RequireEncryptRequireDecrypt,
}

impl CommitmentPolicy {
    /// Whether messages may be written with this suite.
    ///
    /// ```
    /// use sealwax::{AlgorithmSuite, CommitmentPolicy};
    /// let forbid = CommitmentPolicy::ForbidEncryptAllowDecrypt;
    /// assert!(!forbid.allows_encrypt(AlgorithmSuite::Aes256GcmHkdfSha512CommitKey));
    /// ```
    #[must_use]
    pub const fn allows_encrypt(self, suite: AlgorithmSuite) -> bool {
        match self {
            Self::ForbidEncryptAllowDecrypt => !suite.is_committing(),
            Self::RequireEncryptAllowDecrypt | Self::RequireEncryptRequireDecrypt => suite.is_committing(),
        }
    }

    /// Whether messages of this suite may be read.
    ///
    /// ```
    /// use sealwax::{AlgorithmSuite, CommitmentPolicy};
    /// let allow = CommitmentPolicy::RequireEncryptAllowDecrypt;
    /// assert!(allow.allows_decrypt(AlgorithmSuite::Aes256GcmIv12Tag16NoKdf));
    /// ```
    #[must_use]
    pub const fn allows_decrypt(self, suite: AlgorithmSuite) -> bool {
        match self {
            Self::ForbidEncryptAllowDecrypt | Self::RequireEncryptAllowDecrypt => true,
            Self::RequireEncryptRequireDecrypt => suite.is_committing(),
        }
    }

    /// The suite to write where none is asked for: signed, and committing where the policy lets it.
    ///
    /// The specification names `0x0078` for the policy that forbids commitment; what the other SDKs write, and so
    /// what is written here, is `0x0378`.
    ///
    /// ```
    /// assert_eq!(sealwax::CommitmentPolicy::default().default_suite().id(), 0x0578);
    /// ```
    #[must_use]
    pub const fn default_suite(self) -> AlgorithmSuite {
        match self {
            Self::ForbidEncryptAllowDecrypt => AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha384EcdsaP384,
            Self::RequireEncryptAllowDecrypt | Self::RequireEncryptRequireDecrypt => {
                AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384
            }
        }
    }

    /// The name in kebab case, as the command line takes it.
    ///
    /// ```
    /// assert_eq!(sealwax::CommitmentPolicy::default().name(), "require-encrypt-require-decrypt");
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForbidEncryptAllowDecrypt => "forbid-encrypt-allow-decrypt",
            Self::RequireEncryptAllowDecrypt => "require-encrypt-allow-decrypt",
            Self::RequireEncryptRequireDecrypt => "require-encrypt-require-decrypt",
        }
    }
}

impl fmt::Display for CommitmentPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_the_order_of_the_enum() {
        for (index, suite) in AlgorithmSuite::ALL.into_iter().enumerate() {
            assert_eq!(suite as usize, index);
            assert_eq!(AlgorithmSuite::from_id(suite.id()), Some(suite));
        }
        assert!(TABLE.windows(2).all(|pair| pair[0].id < pair[1].id));
    }

    #[test]
    fn names_and_properties_agree() {
        for suite in AlgorithmSuite::ALL {
            let name = suite.name();
            assert!(name.contains(&format!("AES_{}_", suite.data_key_length() * 8)), "{name}");
            assert_eq!(name.contains("COMMIT_KEY"), suite.is_committing(), "{name}");
            assert_eq!(name.contains("ECDSA"), suite.is_signed(), "{name}");
            assert_eq!(name.contains("NO_KDF"), suite.derivation() == KeyDerivation::Identity, "{name}");
        }
    }

    #[test]
    fn a_policy_allows_its_own_default() {
        for policy in [
            CommitmentPolicy::ForbidEncryptAllowDecrypt,
            CommitmentPolicy::RequireEncryptAllowDecrypt,
            CommitmentPolicy::RequireEncryptRequireDecrypt,
        ] {
            assert!(policy.allows_encrypt(policy.default_suite()));
            assert!(policy.allows_decrypt(policy.default_suite()));
        }
    }
}
