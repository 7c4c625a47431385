//! The key store: branch keys in a storage, encrypted by a key service.
//!
//! Specification: framework/branch-key-store.

use std::{fmt, sync::Arc, time::SystemTime};

use sealwax::{
    EncryptionContext, Escaped, Operation, SecretBytes,
    keyring::{GenerateDataKey, KmsApi, KmsDecrypt, KmsError, KmsErrorKind, KmsOperation, KmsReEncrypt},
};
use uuid::Uuid;

use super::{
    BranchKeyError, BranchKeyItem, BranchKeyStorage, Condition, ItemValue, KmsConfiguration, PutItem, StorageErrorKind,
    derivation::Derivation,
    item::{
        ACTIVE, BEACON, CIPHERTEXT, CREATED, MAX_CIPHERTEXT, Record, VERSION_PREFIX, active_item, beacon_item,
        parse_version, version_item, version_type,
    },
};

type Result<T, E = BranchKeyError> = std::result::Result<T, E>;

/// The length of every branch key and beacon key in bytes.
const KEY_LENGTH: usize = 32;

/// The longest id of a branch key in bytes, which is a partition key of DynamoDB.
const MAX_ID: usize = 2048;

/// A store of branch keys: a [storage](BranchKeyStorage) for encrypted keys, and the key service
/// that encrypts them.
///
/// A branch key has an id and versions, one of which is active and wraps data keys; earlier ones
/// unwrap. Each is 32 bytes that the key service generates, and that leave it only when a branch
/// key is read. Every attribute of an item is authenticated by the key service, together with the
/// *logical name*, which is stored nowhere and must be the same for all users of a storage.
///
/// Rotation is guarded by an optimistic lock: of several processes that rotate a branch key at
/// once, one succeeds and the others fail with [`BranchKeyError::Changed`]. A storage that brings
/// back an earlier authentic item is not detected.
///
/// ```
/// use std::sync::Arc;
/// use sealwax::{EncryptionContext, keyring::KmsApi};
/// use sealwax_aws::{BranchKeyStorage, BranchKeyStore, KmsConfiguration};
///
/// # fn example(storage: Arc<dyn BranchKeyStorage>, kms: Arc<dyn KmsApi>) -> Result<(), sealwax_aws::BranchKeyError> {
/// let key = KmsConfiguration::key("arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")?;
/// let store = BranchKeyStore::new(storage, kms, "orders", key)?;
/// let id = store.create_key(None, &EncryptionContext::from([("tenant", "blue")])).wait()?;
/// store.version_key(&id).wait()?;
/// assert_eq!(store.describe_key(&id).wait()?.versions.len(), 2);
/// # Ok(())
/// # }
/// ```
pub struct BranchKeyStore {
    storage: Arc<dyn BranchKeyStorage>,
    kms: Arc<dyn KmsApi>,
    logical_name: String,
    keys: KmsConfiguration,
    grant_tokens: Vec<String>,
}

/// A branch key or a beacon key in plaintext, which is overwritten when it is dropped.
pub struct BranchKey {
    pub(super) id: String,
    pub(super) version: Uuid,
    key: SecretBytes,
    pub(super) derivation: Derivation,
    context: EncryptionContext,
}

impl BranchKey {
    /// Returns the id of the branch key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the version, a UUID. It is nil for a beacon key.
    #[must_use]
    pub fn version(&self) -> String {
        self.version.to_string()
    }

    /// Returns the 32 bytes of the key.
    #[must_use]
    pub fn key(&self) -> &SecretBytes {
        &self.key
    }

    /// Returns the custom encryption context.
    #[must_use]
    pub fn context(&self) -> &EncryptionContext {
        &self.context
    }
}

/// What the storage says about a branch key. None of it is authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchKeyDescription {
    /// The id of the branch key.
    pub id: String,
    /// The active version, a UUID.
    pub active: String,
    /// The custom encryption context of the active version.
    pub context: EncryptionContext,
    /// All versions, the oldest first.
    pub versions: Vec<BranchKeyVersion>,
}

/// What the storage says about a version of a branch key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchKeyVersion {
    /// The version, a UUID.
    pub version: String,
    /// The time when it was created, as the item has it.
    pub created: String,
    /// The key of the key service that it is encrypted under.
    pub kms_key: String,
}

impl BranchKeyStore {
    /// Creates a key store.
    ///
    /// # Errors
    /// [`BranchKeyError::Invalid`] if the logical name is empty or contains a zero byte.
    pub fn new(
        storage: Arc<dyn BranchKeyStorage>,
        kms: Arc<dyn KmsApi>,
        logical_name: impl Into<String>,
        keys: KmsConfiguration,
    ) -> Result<Self> {
        let logical_name = logical_name.into();
        if logical_name.is_empty() || logical_name.contains('\0') {
            return Err(BranchKeyError::invalid("the logical key store name must not be empty or contain a zero byte"));
        }
        Ok(Self { storage, kms, logical_name, keys, grant_tokens: Vec::new() })
    }

    /// Sets tokens of grants that may not have taken effect throughout the key service yet.
    #[must_use]
    pub fn grant_tokens(self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { grant_tokens: tokens.into_iter().map(Into::into).collect(), ..self }
    }

    /// Returns the logical name.
    #[must_use]
    pub fn logical_name(&self) -> &str {
        &self.logical_name
    }

    /// Returns the name of the table.
    #[must_use]
    pub fn table_name(&self) -> &str {
        self.storage.name()
    }

    /// Returns which keys of the key service are used.
    #[must_use]
    pub fn configuration(&self) -> &KmsConfiguration {
        &self.keys
    }

    /// Creates a branch key and its beacon key, and returns the id: the given one, or a new UUID.
    /// The custom context is stored with the key and authenticated by the key service.
    ///
    /// # Errors
    /// [`BranchKeyError::Invalid`] if an id is given without a context, or is empty or longer than
    /// 2,048 bytes; [`BranchKeyError::Exists`]; [`BranchKeyError::Discovery`]; the errors of the
    /// key service and the storage. After an error nothing is written, except that a storage that
    /// does not answer may have written everything.
    pub fn create_key<'a>(
        &'a self,
        id: Option<&'a str>,
        context: &'a EncryptionContext,
    ) -> Operation<impl Future<Output = Result<String>> + Send + 'a> {
        Operation::new(async move {
            let kms_key = self.keys.own_key()?;
            if id.is_some() && context.is_empty() {
                return Err(BranchKeyError::invalid("a branch key with a given id needs an encryption context"));
            }
            let id = id.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
            check_id(&id)?;
            let mut version = version_item(&id, Uuid::new_v4(), kms_key, &now(), context);
            let mut active = active_item(&version);
            let mut beacon = beacon_item(&version);
            self.fill_version(kms_key, &mut version, &mut active).await?;
            let sealed = self.generate(kms_key, &beacon).await?;
            beacon.insert(CIPHERTEXT, ItemValue::Bytes(sealed));
            let puts = [version, active, beacon].map(|item| PutItem { item, condition: Condition::Absent });
            self.put(&puts, || BranchKeyError::Exists { id: id.clone() }).await?;
            Ok(id)
        })
    }

    /// Creates a new version of a branch key, makes it the active one, and returns it, a UUID. The
    /// KMS key, the custom context and other attributes stay as they are.
    ///
    /// # Errors
    /// [`BranchKeyError::Changed`] if another process rotated the key at the same time; otherwise
    /// as for [`active_key`](Self::active_key) and [`create_key`](Self::create_key).
    pub fn version_key<'a>(&'a self, id: &'a str) -> Operation<impl Future<Output = Result<String>> + Send + 'a> {
        Operation::new(async move {
            self.keys.own_key()?;
            let old = self.fetch(id, ACTIVE).await?;
            let record = Record::check(&old, id, ACTIVE)?;
            let kms_key = self.key_to_call(&old, &record)?;
            // This authenticates the item without disclosing the key.
            let context = old.context(&self.logical_name);
            let request = KmsReEncrypt::new(&kms_key, record.ciphertext, &context, &context);
            self.re_encrypt(request).await.map_err(|error| of_item(error, &old))?;

            let uuid = Uuid::new_v4();
            let mut version = old.clone();
            version.remove(super::item::VERSION);
            version.insert(super::item::TYPE, ItemValue::Text(version_type(uuid)));
            version.insert(CREATED, ItemValue::Text(now()));
            let mut active = active_item(&version);
            self.fill_version(&kms_key, &mut version, &mut active).await?;
            let puts = [
                PutItem { item: version, condition: Condition::Absent },
                PutItem { item: active, condition: Condition::Ciphertext(record.ciphertext.to_vec()) },
            ];
            self.put(&puts, || BranchKeyError::Changed { id: id.to_owned() }).await?;
            Ok(uuid.to_string())
        })
    }

    /// Returns the active version of a branch key.
    ///
    /// # Errors
    /// [`BranchKeyError::NotFound`]; [`BranchKeyError::InvalidItem`],
    /// [`BranchKeyError::HierarchyVersion`] and [`BranchKeyError::OtherKey`] before the key service
    /// is called; [`BranchKeyError::NotAuthentic`]; the errors of the key service and the storage.
    pub fn active_key<'a>(&'a self, id: &'a str) -> Operation<impl Future<Output = Result<BranchKey>> + Send + 'a> {
        Operation::new(self.read(id, ACTIVE.to_owned()))
    }

    /// Returns a version of a branch key.
    ///
    /// # Errors
    /// As for [`active_key`](Self::active_key); [`BranchKeyError::Invalid`] if the version is not a
    /// UUID in lower case.
    pub fn key_version<'a>(
        &'a self,
        id: &'a str,
        version: &'a str,
    ) -> Operation<impl Future<Output = Result<BranchKey>> + Send + 'a> {
        Operation::new(async move {
            let kind = format!("{VERSION_PREFIX}{version}");
            if parse_version(&kind).is_none() {
                return Err(BranchKeyError::invalid("the version of a branch key is a UUID in lower case"));
            }
            self.read(id, kind).await
        })
    }

    /// Returns the beacon key of a branch key. Messages do not use it.
    ///
    /// # Errors
    /// As for [`active_key`](Self::active_key).
    pub fn beacon_key<'a>(&'a self, id: &'a str) -> Operation<impl Future<Output = Result<BranchKey>> + Send + 'a> {
        Operation::new(self.read(id, BEACON.to_owned()))
    }

    /// Returns the ids of all branch keys. The key service is not called.
    ///
    /// # Errors
    /// The errors of the storage.
    pub fn list_keys(&self) -> Operation<impl Future<Output = Result<Vec<String>>> + Send + '_> {
        Operation::new(async move { Ok(self.storage.ids().await?) })
    }

    /// Returns what the storage says about a branch key and its versions. The key service is not
    /// called, so nothing is authenticated.
    ///
    /// # Errors
    /// [`BranchKeyError::NotFound`], [`BranchKeyError::InvalidItem`],
    /// [`BranchKeyError::HierarchyVersion`]; the errors of the storage.
    pub fn describe_key<'a>(
        &'a self,
        id: &'a str,
    ) -> Operation<impl Future<Output = Result<BranchKeyDescription>> + Send + 'a> {
        Operation::new(async move {
            check_id(id)?;
            let items = self.storage.items_of(id).await?;
            let (mut active, mut versions) = (None, Vec::new());
            // Items of other types can belong to features that this library does not have.
            for item in &items {
                let kind = item.kind();
                if kind != ACTIVE && parse_version(kind).is_none() {
                    continue;
                }
                let record = Record::check(item, id, kind)?;
                let version = record.version.unwrap_or_default().to_string();
                if kind == ACTIVE {
                    active = Some((version, item.custom_context()));
                    continue;
                }
                let created = item.text(CREATED).unwrap_or_default().to_owned();
                versions.push(BranchKeyVersion { version, created, kms_key: record.kms_arn.to_owned() });
            }
            let (active, context) = active.ok_or_else(|| not_found(id, ACTIVE))?;
            versions.sort_by(|a, b| (&a.created, &a.version).cmp(&(&b.created, &b.version)));
            Ok(BranchKeyDescription { id: id.to_owned(), active, context, versions })
        })
    }

    pub(super) async fn read(&self, id: &str, kind: String) -> Result<BranchKey> {
        let item = self.fetch(id, &kind).await?;
        let record = Record::check(&item, id, &kind)?;
        let kms_key = self.key_to_call(&item, &record)?;
        let context = item.context(&self.logical_name);
        let request = KmsDecrypt::new(&kms_key, record.ciphertext, &context).with_grant_tokens(&self.grant_tokens);
        let answer = self.kms.decrypt(request).await.map_err(|error| of_item(error.into(), &item))?;
        let wrong = |why| Err(wrong_answer(KmsOperation::Decrypt, &kms_key, why));
        if answer.key_id != *kms_key {
            return wrong(ANOTHER_KEY);
        }
        if answer.plaintext.len() != KEY_LENGTH {
            return wrong("the branch key does not have 32 bytes");
        }
        let version = record.version.unwrap_or_default();
        let (key, context) = (answer.plaintext, item.custom_context());
        Ok(BranchKey { id: id.to_owned(), version, derivation: Derivation::new(&key)?, key, context })
    }

    async fn fetch(&self, id: &str, kind: &str) -> Result<BranchKeyItem> {
        check_id(id)?;
        self.storage.get(id, kind).await?.ok_or_else(|| not_found(id, kind))
    }

    fn key_to_call(&self, item: &BranchKeyItem, record: &Record<'_>) -> Result<String> {
        let key = self.keys.key_to_call(record.kms_arn).map_err(|why| BranchKeyError::OtherKey {
            id: item.id().to_owned(),
            item: item.kind().to_owned(),
            found: record.kms_arn.to_owned(),
            why,
        });
        key.map(std::borrow::Cow::into_owned)
    }

    /// Generates the key of a new version, and encrypts it for its two items.
    async fn fill_version(&self, kms_key: &str, version: &mut BranchKeyItem, active: &mut BranchKeyItem) -> Result<()> {
        let sealed = self.generate(kms_key, version).await?;
        let (from, to) = (version.context(&self.logical_name), active.context(&self.logical_name));
        let moved = self.re_encrypt(KmsReEncrypt::new(kms_key, &sealed, &from, &to)).await?;
        version.insert(CIPHERTEXT, ItemValue::Bytes(sealed));
        active.insert(CIPHERTEXT, ItemValue::Bytes(moved));
        Ok(())
    }

    /// Generates a key, encrypted with the context of this item.
    async fn generate(&self, kms_key: &str, item: &BranchKeyItem) -> Result<Vec<u8>> {
        let context = item.context(&self.logical_name);
        let request = GenerateDataKey::new(kms_key, KEY_LENGTH, &context).with_grant_tokens(&self.grant_tokens);
        let answer = self.kms.generate_data_key_without_plaintext(request).await?;
        let operation = KmsOperation::GenerateDataKeyWithoutPlaintext;
        checked(operation, kms_key, answer.key_id == kms_key, answer.ciphertext)
    }

    async fn re_encrypt(&self, request: KmsReEncrypt<'_>) -> Result<Vec<u8>> {
        let kms_key = request.source_key_id;
        let answer = self.kms.re_encrypt(request.with_grant_tokens(&self.grant_tokens)).await?;
        let is_right = answer.key_id == kms_key && answer.source_key_id == kms_key;
        checked(KmsOperation::ReEncrypt, kms_key, is_right, answer.ciphertext)
    }

    /// Writes a new version and the items with it. `lost` makes the error for a condition that does
    /// not hold.
    ///
    /// A write can succeed although the storage reports an error, for example if its answer is lost
    /// and the call is made again. The item of the version then has the ciphertext of this call,
    /// which no other call can have written.
    async fn put(&self, puts: &[PutItem], lost: impl Fn() -> BranchKeyError) -> Result<()> {
        let Err(error) = self.storage.put(puts).await else { return Ok(()) };
        if error.kind().may_have_written()
            && let Some(PutItem { item, .. }) = puts.first()
            && let Ok(Some(found)) = self.storage.get(item.id(), item.kind()).await
            && found == *item
        {
            return Ok(());
        }
        match error.kind() {
            StorageErrorKind::ConditionFailed => Err(lost()),
            _ => Err(error.into()),
        }
    }
}

/// Returns the time in the form that the other libraries write: UTC with six digits.
fn now() -> String {
    humantime::format_rfc3339_micros(SystemTime::now()).to_string()
}

fn check_id(id: &str) -> Result<()> {
    if (1..=MAX_ID).contains(&id.len()) {
        return Ok(());
    }
    Err(BranchKeyError::invalid("the id of a branch key must have 1 to 2,048 bytes"))
}

fn not_found(id: &str, kind: &str) -> BranchKeyError {
    BranchKeyError::NotFound { id: id.to_owned(), item: kind.to_owned() }
}

/// Returns the error of the key service for an existing item.
fn of_item(error: BranchKeyError, item: &BranchKeyItem) -> BranchKeyError {
    match error {
        BranchKeyError::Kms(source) if source.kind() == KmsErrorKind::InvalidCiphertext => {
            BranchKeyError::NotAuthentic { id: item.id().to_owned(), item: item.kind().to_owned(), source }
        }
        error => error,
    }
}

const ANOTHER_KEY: &str = "another key answered";

fn wrong_answer(operation: KmsOperation, kms_key: &str, why: &'static str) -> BranchKeyError {
    KmsError::new(operation, KmsErrorKind::InvalidAnswer(why)).key(kms_key).into()
}

fn checked(operation: KmsOperation, kms_key: &str, is_right_key: bool, ciphertext: Vec<u8>) -> Result<Vec<u8>> {
    if !is_right_key {
        return Err(wrong_answer(operation, kms_key, ANOTHER_KEY));
    }
    if !(1..=MAX_CIPHERTEXT).contains(&ciphertext.len()) {
        return Err(wrong_answer(operation, kms_key, "the ciphertext is empty or longer than 6,144 bytes"));
    }
    Ok(ciphertext)
}

impl fmt::Display for BranchKeyStore {
    /// Formats the names of the table and of the logical key store, for labels and logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}?logical-name={}", Escaped(self.storage.name()), Escaped(&self.logical_name))
    }
}
