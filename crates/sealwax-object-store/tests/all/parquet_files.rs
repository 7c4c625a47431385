//! Parquet files in a store: the reader of the crate `parquet` works on them unchanged.

use std::{ops::Range, sync::Arc};

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use futures_util::{FutureExt, TryFutureExt, TryStreamExt, future::BoxFuture};
use object_store_0_14::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
use parquet::{
    arrow::{
        ArrowWriter, ParquetRecordBatchStreamBuilder, ProjectionMask,
        arrow_reader::ArrowReaderOptions,
        async_reader::{AsyncFileReader, MetadataSuffixFetch},
    },
    errors::{ParquetError, Result},
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader},
        properties::WriterProperties,
    },
};
use sealwax::{Client, keyring::RawAesKeyring};
use sealwax_object_store::SealedStore;

/// A file in a store, as the documentation of `parquet` has it.
struct Reader {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

fn error(error: object_store_0_14::Error) -> ParquetError {
    ParquetError::External(error.into())
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        self.store.get_range(&self.path, range).map_err(error).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(error) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
        reader.load_via_suffix_and_finish(self).map_ok(Arc::new).boxed()
    }
}

impl MetadataSuffixFetch for &mut Reader {
    fn fetch_suffix(&mut self, suffix: usize) -> BoxFuture<'_, Result<Bytes>> {
        let options = GetOptions { range: Some(GetRange::Suffix(suffix as u64)), ..GetOptions::default() };
        async move { self.store.get_opts(&self.path, options).await.map_err(error)?.bytes().await.map_err(error) }
            .boxed()
    }
}

const ROWS: i64 = 200_000;

fn table() -> RecordBatch {
    let fields = vec![Field::new("number", DataType::Int64, false), Field::new("name", DataType::Utf8, false)];
    let numbers = Int64Array::from_iter_values((0..ROWS).map(|row| row * 7 % 1009));
    let names = StringArray::from_iter_values((0..ROWS).map(|row| format!("name {}", row * 31 % 65_537)));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(numbers), Arc::new(names)]).unwrap()
}

/// Returns the sum of a column.
async fn sum(store: Arc<dyn ObjectStore>, path: &Path) -> i64 {
    let builder = ParquetRecordBatchStreamBuilder::new(Reader { store, path: path.clone() }).await.unwrap();
    let projection = ProjectionMask::leaves(builder.parquet_schema(), [0]);
    let batches: Vec<_> = builder.with_projection(projection).build().unwrap().try_collect().await.unwrap();
    let column = |batch: &RecordBatch| -> i64 {
        let numbers = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        numbers.values().iter().sum()
    };
    assert!(batches.iter().all(|batch: &RecordBatch| batch.num_columns() == 1));
    batches.iter().map(column).sum()
}

#[tokio::test]
async fn a_parquet_file_is_read_by_columns() {
    let (table, path, mut file) = (table(), Path::from("table/part-0.parquet"), Vec::new());
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(50_000)).build();
    let mut writer = ArrowWriter::try_new(&mut file, table.schema(), Some(properties)).unwrap();
    writer.write(&table).unwrap();
    writer.close().unwrap();

    let keyring = RawAesKeyring::new("example", "key-1", vec![7; 32]).unwrap();
    let inner = Arc::new(InMemory::new());
    let store = SealedStore::builder(inner.clone(), Client::new()).keyring(keyring).build().unwrap();
    store.put(&path, file.clone().into()).await.unwrap();
    let clear = Arc::new(InMemory::new());
    clear.put(&path, file.into()).await.unwrap();

    let expected: i64 = (0..ROWS).map(|row| row * 7 % 1009).sum();
    assert_eq!(sum(clear, &path).await, expected);
    assert_eq!(sum(Arc::new(store), &path).await, expected);
    // The inner store has no Parquet file.
    let stored = inner.get(&path).await.unwrap().bytes().await.unwrap();
    assert!(!stored.starts_with(b"PAR1") && !stored.ends_with(b"PAR1"));
}
