//! The algorithm suites, defined by one table.

use std::fmt;

/// An algorithm suite, which selects the cipher, key derivation, key commitment and signature of a
/// message.
///
/// All eleven suites of the AWS Encryption SDK are supported. Use one of the two committing suites
/// (`0x0478` and `0x0578`), which write message format version 2. The other nine write version 1
/// and exist for old messages and for exchanging messages with older systems.
///
/// Specification: framework/algorithm-suites, "Supported Algorithm Suites" and the settings tables
/// that follow it.
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
    /// `0x0014`: AES-128-GCM, using the data key directly.
    Aes128GcmIv12Tag16NoKdf,
    /// `0x0046`: AES-192-GCM, using the data key directly.
    Aes192GcmIv12Tag16NoKdf,
    /// `0x0078`: AES-256-GCM, using the data key directly.
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
    /// `0x0578`: AES-256-GCM with HKDF-SHA512 and key commitment, signed with ECDSA P-384. The
    /// default.
    Aes256GcmHkdfSha512CommitKeyEcdsaP384,
}

/// A hash function used by an algorithm suite.
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
    /// Returns the length of a digest in bytes.
    #[must_use]
    pub const fn output_length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// A signature algorithm used by an algorithm suite: ECDSA over a NIST curve with a hash of
/// matching strength.
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
    /// Returns the hash function whose digest is signed.
    #[must_use]
    pub const fn hash(self) -> HashAlgorithm {
        match self {
            Self::EcdsaP256 => HashAlgorithm::Sha256,
            Self::EcdsaP384 => HashAlgorithm::Sha384,
        }
    }

    /// Returns the length of a compressed public key in bytes: one byte for the sign of y, then x.
    #[must_use]
    pub const fn public_key_length(self) -> usize {
        match self {
            Self::EcdsaP256 => 33,
            Self::EcdsaP384 => 49,
        }
    }

    /// Returns the length in bytes of every signature that is written: a DER encoding in which
    /// exactly one of r and s has a leading zero byte.
    ///
    /// The other SDKs write signatures of this constant length too. Any valid DER encoding is
    /// accepted when a message is read.
    #[must_use]
    pub const fn signature_length(self) -> usize {
        match self {
            Self::EcdsaP256 => 71,
            Self::EcdsaP384 => 103,
        }
    }

    /// Returns the maximum length of a DER-encoded signature in bytes.
    pub(crate) const fn max_signature_length(self) -> usize {
        self.signature_length() + 1
    }
}

/// The derivation of the message encryption key from the data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyDerivation {
    /// The data key is used directly.
    Identity,
    /// HKDF without a salt; the info is the suite ID followed by the message ID.
    Hkdf(HashAlgorithm),
    /// HKDF with the message ID as the salt. It derives the commit key as well.
    HkdfCommitting(HashAlgorithm),
}

/// The message format version, which is determined by the suite.
///
/// ```
/// use sealwax::{AlgorithmSuite, MessageVersion};
/// assert_eq!(AlgorithmSuite::Aes256GcmHkdfSha512CommitKey.version(), MessageVersion::V2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageVersion {
    /// Version 1.0: a 16-byte message ID; the header authentication includes its IV.
    V1,
    /// Version 2.0: a 32-byte message ID; the header contains the commit key.
    V2,
}

impl MessageVersion {
    /// Returns the length of a message ID in bytes.
    #[must_use]
    pub const fn message_id_length(self) -> usize {
        match self {
            Self::V1 => 16,
            Self::V2 => 32,
        }
    }

    /// Returns the version byte in the encoding.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// The length in bytes of the commit key, which is the suite data of a committing suite.
pub(crate) const COMMIT_KEY_LENGTH: usize = 32;

struct Row {
    id: u16,
    name: &'static str,
    key_length: usize,
    derivation: KeyDerivation,
    signature: Option<SignatureAlgorithm>,
}

/// The rows are in the order of the enum, so that a suite's discriminant is its index.
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
    /// All suites, in ascending order of their IDs.
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

    /// Returns the suite with this ID, or `None` if there is none.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.id() == id)
    }

    const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// Returns the ID in the encoding, such as `0x0578`.
    #[must_use]
    pub const fn id(self) -> u16 {
        self.row().id
    }

    /// Returns the name in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns the length in bytes of the data key, which is also the length of the key derived
    /// from it.
    #[must_use]
    pub const fn data_key_length(self) -> usize {
        self.row().key_length
    }

    /// Returns the message format version of the suite.
    #[must_use]
    pub const fn version(self) -> MessageVersion {
        if self.is_committing() { MessageVersion::V2 } else { MessageVersion::V1 }
    }

    /// Returns `true` if the suite commits to its key, so that only one data key can decrypt a
    /// message.
    #[must_use]
    pub const fn is_committing(self) -> bool {
        matches!(self.row().derivation, KeyDerivation::HkdfCommitting(_))
    }

    /// Returns `true` if messages end with a signature.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        self.row().signature.is_some()
    }

    /// Returns the signature algorithm, or `None` if the suite does not sign.
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

/// A policy that restricts which suites a client writes and reads, by whether they commit to their
/// key.
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
    /// Write only suites without key commitment, read all suites. Use this only to write messages
    /// for readers that do not support version 2.
    ForbidEncryptAllowDecrypt,
    /// Write only committing suites, read all suites. Use this while old messages are still in use.
    RequireEncryptAllowDecrypt,
    /// Write and read only committing suites. The default.
    #[default]
    RequireEncryptRequireDecrypt,
}

impl CommitmentPolicy {
    /// Returns `true` if messages may be written with this suite.
    #[must_use]
    pub const fn allows_encrypt(self, suite: AlgorithmSuite) -> bool {
        match self {
            Self::ForbidEncryptAllowDecrypt => !suite.is_committing(),
            Self::RequireEncryptAllowDecrypt | Self::RequireEncryptRequireDecrypt => suite.is_committing(),
        }
    }

    /// Returns `true` if messages with this suite may be read.
    #[must_use]
    pub const fn allows_decrypt(self, suite: AlgorithmSuite) -> bool {
        match self {
            Self::ForbidEncryptAllowDecrypt | Self::RequireEncryptAllowDecrypt => true,
            Self::RequireEncryptRequireDecrypt => suite.is_committing(),
        }
    }

    /// Returns the suite used when none is requested. It signs, and commits to its key if the
    /// policy allows it.
    ///
    /// The specification names `0x0078` for the policy that forbids commitment. The other SDKs
    /// write `0x0378` instead, and so does this library.
    #[must_use]
    pub const fn default_suite(self) -> AlgorithmSuite {
        match self {
            Self::ForbidEncryptAllowDecrypt => AlgorithmSuite::Aes256GcmIv12Tag16HkdfSha384EcdsaP384,
            Self::RequireEncryptAllowDecrypt | Self::RequireEncryptRequireDecrypt => {
                AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384
            }
        }
    }

    /// Returns the name in kebab case, as accepted by the command line.
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
