//! Helpers for messages in small batches, and for driving machines in every way.

use std::sync::{Arc, Mutex};

use super::{
    super::Plan,
    steady::{Steady, SteadySigner},
};
use crate::{
    context::{EncryptionContext, PUBLIC_KEY_ENTRY},
    crypto::{CryptoProvider, RustCrypto, SigningKey},
    error::{Error, Result},
    format::{EncryptedDataKey, HeaderDecoder},
    keyring::KeyReport,
    limits::Limits,
    materials::{DecryptionMaterials, EncryptionMaterials, OpenedBy},
    message::{
        Decryptor, Encryptor, Machine, OpenParameters, StartParameters, Started, VerifiedHeader, open_all, seal_all,
        start, verify_header,
    },
    secret::SecretBytes,
    suite::{AlgorithmSuite, CommitmentPolicy},
};

/// A factory for messages with one suite, frame length, data key and signing key.
pub(super) struct Bench {
    suite: AlgorithmSuite,
    frame_length: u32,
    signer: Option<Arc<SteadySigner>>,
}

pub(super) const UNSIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKey;
pub(super) const SIGNED: AlgorithmSuite = AlgorithmSuite::Aes256GcmHkdfSha512CommitKeyEcdsaP384;

/// Returns a plan with batches of a few hundred bytes that starts threads right away.
pub(super) fn small(threads: usize) -> Plan {
    Plan { threads, batch: 300, pays_from: 1 }
}

impl Bench {
    pub(super) fn new(suite: AlgorithmSuite, frame_length: u32) -> Self {
        let signer = suite.signature().map(|algorithm| {
            let key = RustCrypto.generate_signing_key(algorithm).unwrap();
            Arc::new(SteadySigner { key, signatures: Mutex::default() })
        });
        Self { suite, frame_length, signer }
    }

    fn context(&self) -> EncryptionContext {
        let mut context = EncryptionContext::new();
        if let Some(signer) = &self.signer {
            let key: &dyn SigningKey = &**signer;
            context.insert(PUBLIC_KEY_ENTRY, key.public_key_entry());
        }
        context
    }

    fn data_key(&self) -> SecretBytes {
        SecretBytes::zeroed(self.suite.data_key_length())
    }

    pub(super) fn start(&self, provider: &Steady) -> Started {
        let policy = match self.suite.is_committing() {
            true => CommitmentPolicy::default(),
            false => CommitmentPolicy::ForbidEncryptAllowDecrypt,
        };
        let parameters =
            StartParameters { provider, policy, limits: Limits::default(), frame_length: self.frame_length };
        let materials = EncryptionMaterials {
            suite: self.suite,
            context: self.context(),
            required_context_keys: Default::default(),
            data_key: self.data_key(),
            encrypted_data_keys: vec![EncryptedDataKey::new("test", "key", [])],
            signing_key: self.signer.clone().map(|signer| signer as _),
            key_report: KeyReport::default(),
        };
        start(&parameters, materials).unwrap()
    }

    pub(super) fn encryptor(&self, provider: &Steady, plan: Plan) -> Encryptor {
        Encryptor::new(self.start(provider), None).with_plan(plan)
    }

    pub(super) fn seal(&self, plaintext: &[u8], plan: Plan) -> Result<Vec<u8>> {
        Ok(seal_all(self.start(&Steady::new()), plaintext, plan)?.2)
    }

    /// Verifies the header and returns it with the body.
    pub(super) fn verified<'a>(&self, provider: &Steady, message: &'a [u8]) -> Result<(VerifiedHeader, &'a [u8])> {
        let (received, body) = HeaderDecoder::new().decode(message)?;
        let verifying_key = self
            .signer
            .as_ref()
            .map(|signer| RustCrypto.verifying_key(signer.algorithm(), signer.public_key()).unwrap());
        let materials = DecryptionMaterials {
            suite: self.suite,
            context: self.context(),
            required_context_keys: Default::default(),
            data_key: self.data_key(),
            verifying_key,
            opened_by: OpenedBy { keyring: "test".into(), encrypted_data_key: 0 },
        };
        let policy = CommitmentPolicy::RequireEncryptAllowDecrypt;
        let expected_context = &EncryptionContext::new();
        let parameters = OpenParameters { provider, policy, limits: Limits::default(), expected_context };
        Ok((verify_header(&parameters, received, materials)?, body))
    }

    pub(super) fn open(&self, message: &[u8], plan: Plan) -> Result<Vec<u8>> {
        self.open_with(&Steady::new(), message, plan)
    }

    pub(super) fn open_with(&self, provider: &Steady, message: &[u8], plan: Plan) -> Result<Vec<u8>> {
        let (verified, body) = self.verified(provider, message)?;
        Ok(open_all(verified.body, body, plan)?.to_vec())
    }

    /// Decrypts a message with a [`Decryptor`]. Returns the plaintext released before the end or an
    /// error, and the outcome.
    pub(super) fn read(&self, provider: &Steady, message: &[u8], plan: Plan, feed: Feed) -> (Vec<u8>, Result<()>) {
        let (verified, body) = match self.verified(provider, message) {
            Ok(verified) => verified,
            Err(error) => return (Vec::new(), Err(error)),
        };
        drive(Decryptor::new(verified).with_plan(plan), body, feed)
    }

    pub(super) fn frames_of(&self, plaintext: usize) -> u32 {
        (plaintext.div_ceil(self.frame_length as usize)).max(1) as u32
    }
}

/// How input is fed to a machine.
#[derive(Clone, Debug)]
pub(super) enum Feed {
    /// Push pieces of these lengths, repeated.
    Push(Vec<usize>),
    /// Read pieces of at most these lengths, repeated, into the machine's buffer.
    Read(Vec<usize>),
    /// Push single bytes, and settle after each of them.
    Settled,
}

/// Feeds the input to a machine. Returns the output, up to an error if there is one, and the
/// outcome.
pub(super) fn drive<M: Machine + Push>(mut machine: M, input: &[u8], feed: Feed) -> (Vec<u8>, Result<()>) {
    let mut out = Vec::new();
    let (sizes, push) = match &feed {
        Feed::Push(sizes) => (&sizes[..], true),
        Feed::Read(sizes) => (&sizes[..], false),
        Feed::Settled => (&[1][..], true),
    };
    let (mut rest, mut sizes) = (input, sizes.iter().cycle());
    while !rest.is_empty() {
        let wanted = rest.len().min(*sizes.next().unwrap());
        let mut step = || {
            let taken = if push {
                machine.push_all(&rest[..wanted])?;
                wanted
            } else {
                machine.make_ready()?;
                let spare = machine.spare();
                let taken = spare.len().min(wanted);
                assert!(taken > 0, "no room");
                spare[..taken].copy_from_slice(&rest[..taken]);
                machine.advance(taken)?;
                taken
            };
            if matches!(feed, Feed::Settled) {
                machine.settle()?;
            }
            Ok(taken)
        };
        match step() {
            Ok(taken) => rest = &rest[taken..],
            Err(error) => {
                assert!(machine.output().is_empty(), "output is left after an error");
                assert!(matches!(machine.push_all(b"x"), Err(Error::Ended)), "the machine continued after an error");
                assert!(matches!(machine.finish(), Err(Error::Ended)), "the machine finished after an error");
                return (out, Err(error));
            }
        }
        while !machine.output().is_empty() {
            // Take the output in parts, and sometimes leave some of it for later.
            let count = machine.output().len().min(wanted.max(7));
            out.extend_from_slice(&machine.output()[..count]);
            machine.consume(count);
            if wanted % 3 == 0 && !matches!(feed, Feed::Settled) {
                break;
            }
        }
    }
    match machine.finish() {
        Ok(end) => {
            out.extend_from_slice(end.as_ref());
            (out, Ok(()))
        }
        Err(error) => (out, Err(error)),
    }
}

pub(super) trait Push {
    fn push_all(&mut self, bytes: &[u8]) -> Result<()>;
}

impl Push for Encryptor {
    fn push_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.push(bytes)
    }
}

impl Push for Decryptor {
    fn push_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.push(bytes)
    }
}
