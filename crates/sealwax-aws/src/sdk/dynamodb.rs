//! Branch keys in Amazon DynamoDB, through the official SDK.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client, Config,
    config::{SharedInterceptor, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
    primitives::Blob,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, Put, ScalarAttributeType,
        TableDescription, TransactWriteItem,
    },
};
use sealwax::keyring::{BoxFuture, KmsErrorKind};
use tokio::runtime::Handle;

use super::{
    answer::Guard,
    failure::{Explained, Private},
    runtime::Runtime,
};
use crate::hierarchy::{
    BranchKeyItem, BranchKeyStorage, Condition, ItemValue, PutItem, StorageError, StorageErrorKind,
};

const ID: &str = "branch-key-id";
const TYPE: &str = "type";

/// A table of Amazon DynamoDB with branch keys.
///
/// The table has the partition key `branch-key-id` and the sort key `type`, and other libraries can
/// use it too. Reads are strongly consistent. Credentials, region, endpoint, timeouts and retries
/// come from the SDK's configuration, as for [`AwsSdkKms`](super::AwsSdkKms), and so do the rules
/// about runtimes and errors.
///
/// ```
/// use sealwax_aws::DynamoDbTable;
///
/// # async fn example(config: aws_sdk_dynamodb::Config) -> Result<(), sealwax_aws::StorageError> {
/// let table = DynamoDbTable::new("branch-keys", config);
/// let arn = table.create().await?;
/// # let _ = arn;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DynamoDbTable {
    client: Client,
    name: String,
    runtime: Runtime,
}

impl DynamoDbTable {
    /// Creates a client for this table. The feature `config` adds an HTTP client to a configuration
    /// that has none.
    #[must_use]
    pub fn new(name: impl Into<String>, config: Config) -> Self {
        let mut builder = config.to_builder();
        builder.push_interceptor(SharedInterceptor::new(Guard::DYNAMODB));
        #[cfg(feature = "config")]
        if config.http_client().is_none() {
            builder.set_http_client(Some(super::connect::direct()));
        }
        Self { client: Client::from_conf(builder.build()), name: name.into(), runtime: Runtime::default() }
    }

    /// Creates a client with the configuration of the AWS tools: see
    /// [`AwsSdkKmsSupplier::from_environment`](super::AwsSdkKmsSupplier::from_environment).
    #[cfg(feature = "config")]
    pub async fn from_environment(name: impl Into<String>, region: Option<&str>, profile: Option<&str>) -> Self {
        Self::new(name, Config::new(&super::regions::environment(region, profile).await))
    }

    /// Makes all calls on this runtime: see [`AwsSdkKms::on`](super::AwsSdkKms::on).
    #[must_use]
    pub fn on(self, runtime: Handle) -> Self {
        Self { runtime: Runtime(Some(runtime)), ..self }
    }

    /// Creates the table, with on-demand billing, unless it exists, and returns its ARN. A new table
    /// can be used only after some seconds.
    ///
    /// # Errors
    /// [`StorageErrorKind::InvalidAnswer`] if there is a table of this name with other keys; the
    /// errors of the service.
    pub async fn create(&self) -> Result<String, StorageError> {
        let private = Private::default();
        if let Some(found) = self.describe(&private).await? {
            return arn(&found);
        }
        let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
        let text = |name: &str| {
            AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build()
        };
        let incomplete = |_| StorageError::new(StorageErrorKind::InvalidRequest);
        let call = self.client.create_table().table_name(&self.name).billing_mode(BillingMode::PayPerRequest);
        let call = call.key_schema(key(ID, KeyType::Hash).map_err(incomplete)?);
        let call = call.key_schema(key(TYPE, KeyType::Range).map_err(incomplete)?);
        let call = call.attribute_definitions(text(ID).map_err(incomplete)?);
        let call = call.attribute_definitions(text(TYPE).map_err(incomplete)?);
        let made = self.call(call.send()).await?;
        match made {
            Ok(made) => made.table_description.as_ref().map_or_else(|| Err(lacking()), arn),
            // Another process creates it at the same time.
            Err(error) if error.code().is_some_and(|code| code.starts_with("ResourceInUse")) => {
                self.describe(&private).await?.as_ref().map_or_else(|| Err(lacking()), arn)
            }
            Err(error) => Err(failed(&private, &error)),
        }
    }

    async fn describe(&self, private: &Private<'_>) -> Result<Option<TableDescription>, StorageError> {
        match self.call(self.client.describe_table().table_name(&self.name).send()).await? {
            Ok(found) => found.table.map(Some).ok_or_else(lacking),
            Err(error) => {
                let error = failed(private, &error);
                if error.kind() == StorageErrorKind::NotFound { Ok(None) } else { Err(error) }
            }
        }
    }

    async fn call<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> Result<T, StorageError> {
        self.runtime.call(call).await.map_err(|(kind, cause)| StorageError::new(storage_kind(kind)).caused_by(cause))
    }
}

impl BranchKeyStorage for DynamoDbTable {
    fn name(&self) -> &str {
        &self.name
    }

    fn get<'a>(&'a self, id: &'a str, item: &'a str) -> BoxFuture<'a, Result<Option<BranchKeyItem>, StorageError>> {
        Box::pin(async move {
            let call = self.client.get_item().table_name(&self.name).consistent_read(true);
            let call = call.key(ID, AttributeValue::S(id.to_owned())).key(TYPE, AttributeValue::S(item.to_owned()));
            let answer = self.call(call.send()).await?.map_err(|error| failed(&Private::default(), &error))?;
            Ok(answer.item.map(from_sdk))
        })
    }

    fn put<'a>(&'a self, puts: &'a [PutItem]) -> BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(async move {
            let mut private = Private::default();
            let mut call = self.client.transact_write_items();
            for PutItem { item, condition } in puts {
                for (name, value) in item.iter() {
                    match value {
                        ItemValue::Text(value) if name.starts_with("aws-crypto-ec:") => private.hide(value),
                        ItemValue::Bytes(bytes) => private.hide_bytes(bytes),
                        _ => {}
                    }
                }
                let put = put(&self.name, item, condition)?;
                call = call.transact_items(TransactWriteItem::builder().put(put).build());
            }
            // The SDK adds a token by which DynamoDB recognizes the same call, made again.
            match self.call(call.send()).await? {
                Ok(_) => Ok(()),
                Err(error) => Err(cancelled(&error).unwrap_or_else(|| failed(&private, &error))),
            }
        })
    }

    fn items_of<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Vec<BranchKeyItem>, StorageError>> {
        Box::pin(async move {
            let (mut items, mut start) = (Vec::new(), None);
            loop {
                let call = self.client.query().table_name(&self.name).consistent_read(true);
                let call = call.key_condition_expression("#id = :id").expression_attribute_names("#id", ID);
                let call = call.expression_attribute_values(":id", AttributeValue::S(id.to_owned()));
                let call = call.set_exclusive_start_key(start.take()).send();
                let answer = self.call(call).await?.map_err(|error| failed(&Private::default(), &error))?;
                items.extend(answer.items.unwrap_or_default().into_iter().map(from_sdk));
                start = answer.last_evaluated_key.filter(|key| !key.is_empty());
                if start.is_none() {
                    return Ok(items);
                }
            }
        })
    }

    fn ids(&self) -> BoxFuture<'_, Result<Vec<String>, StorageError>> {
        Box::pin(async move {
            let (mut ids, mut start) = (std::collections::BTreeSet::new(), None);
            loop {
                let call = self.client.scan().table_name(&self.name).consistent_read(true);
                let call = call.projection_expression("#id").expression_attribute_names("#id", ID);
                let call = call.set_exclusive_start_key(start.take()).send();
                let answer = self.call(call).await?.map_err(|error| failed(&Private::default(), &error))?;
                let items = answer.items.unwrap_or_default().into_iter();
                ids.extend(items.map(|item| from_sdk(item).id().to_owned()).filter(|id| !id.is_empty()));
                start = answer.last_evaluated_key.filter(|key| !key.is_empty());
                if start.is_none() {
                    return Ok(ids.into_iter().collect());
                }
            }
        })
    }
}

fn put(table: &str, item: &BranchKeyItem, condition: &Condition) -> Result<Put, StorageError> {
    let invalid = || StorageError::new(StorageErrorKind::InvalidRequest);
    let mut attributes = HashMap::new();
    for (name, value) in item.iter() {
        attributes.insert(name.to_owned(), to_sdk(value).ok_or_else(invalid)?);
    }
    // The name has hyphens, so that expressions need another one for it.
    let put = Put::builder().table_name(table).set_item(Some(attributes)).expression_attribute_names("#id", ID);
    let put = match condition {
        Condition::Absent => put.condition_expression("attribute_not_exists(#id)"),
        Condition::Ciphertext(old) => put
            .condition_expression("attribute_exists(#id) AND enc = :old")
            .expression_attribute_values(":old", AttributeValue::B(Blob::new(old.clone()))),
    };
    put.build().map_err(|_| invalid())
}

fn to_sdk(value: &ItemValue) -> Option<AttributeValue> {
    match value {
        ItemValue::Text(text) => Some(AttributeValue::S(text.clone())),
        ItemValue::Number(number) => Some(AttributeValue::N(number.clone())),
        ItemValue::Bytes(bytes) => Some(AttributeValue::B(Blob::new(bytes.clone()))),
        ItemValue::Other => None,
    }
}

fn from_sdk(item: HashMap<String, AttributeValue>) -> BranchKeyItem {
    let value = |value| match value {
        AttributeValue::S(text) => ItemValue::Text(text),
        AttributeValue::N(number) => ItemValue::Number(number),
        AttributeValue::B(bytes) => ItemValue::Bytes(bytes.into_inner()),
        _ => ItemValue::Other,
    };
    item.into_iter().map(|(name, found)| (name, value(found))).collect()
}

/// Returns the ARN of a table that has the keys of branch keys; other attributes do not matter.
fn arn(table: &TableDescription) -> Result<String, StorageError> {
    let has_key = |name: &str, kind: &KeyType| {
        table.key_schema().iter().any(|key| key.attribute_name() == name && key.key_type() == kind)
    };
    let is_text = |name: &str| {
        table.attribute_definitions().iter().any(|attribute| {
            attribute.attribute_name() == name && *attribute.attribute_type() == ScalarAttributeType::S
        })
    };
    let is_right = has_key(ID, &KeyType::Hash) && has_key(TYPE, &KeyType::Range) && is_text(ID) && is_text(TYPE);
    if !is_right {
        let why = "the table exists, but its keys are not branch-key-id and type";
        return Err(StorageError::new(StorageErrorKind::InvalidAnswer(why)));
    }
    table.table_arn().map(str::to_owned).ok_or_else(lacking)
}

fn lacking() -> StorageError {
    StorageError::new(StorageErrorKind::InvalidAnswer("it does not describe the table"))
}

/// Returns the error for a transaction that the service cancelled.
fn cancelled(error: &SdkError<TransactWriteItemsError, HttpResponse>) -> Option<StorageError> {
    let kind = match error.as_service_error()? {
        TransactWriteItemsError::TransactionInProgressException(_) => StorageErrorKind::Conflict,
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            let has = |code: &str| cancelled.cancellation_reasons().iter().any(|reason| reason.code() == Some(code));
            // A condition that does not hold decides, whatever else there is.
            if has("ConditionalCheckFailed") {
                StorageErrorKind::ConditionFailed
            } else if has("TransactionConflict") {
                StorageErrorKind::Conflict
            } else if has("ThrottlingError") || has("ProvisionedThroughputExceeded") {
                StorageErrorKind::Throttled
            } else if has("ValidationError") {
                StorageErrorKind::InvalidRequest
            } else {
                StorageErrorKind::Other
            }
        }
        _ => return None,
    };
    Some(StorageError::new(kind).caused_by("the transaction was cancelled"))
}

fn failed<E>(private: &Private<'_>, error: &SdkError<E, HttpResponse>) -> StorageError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Explained { kind, cause } = private.explain(error);
    let error = StorageError::new(storage_kind(kind));
    match cause {
        Some(cause) => error.caused_by(cause),
        None => error,
    }
}

fn storage_kind(kind: KmsErrorKind) -> StorageErrorKind {
    match kind {
        KmsErrorKind::NotFound => StorageErrorKind::NotFound,
        KmsErrorKind::AccessDenied => StorageErrorKind::AccessDenied,
        KmsErrorKind::InvalidRequest | KmsErrorKind::Unsupported => StorageErrorKind::InvalidRequest,
        KmsErrorKind::Throttled => StorageErrorKind::Throttled,
        KmsErrorKind::TimedOut => StorageErrorKind::TimedOut,
        KmsErrorKind::Unavailable => StorageErrorKind::Unavailable,
        KmsErrorKind::InvalidAnswer(why) => StorageErrorKind::InvalidAnswer(why),
        _ => StorageErrorKind::Other,
    }
}
