//! The test suite for storages of branch keys.

use futures_util::future::join_all;
use uuid::Uuid;

use super::{BranchKeyItem, BranchKeyStorage, Condition, ItemValue, PutItem, StorageErrorKind};

/// Tests a storage against the rules of [`BranchKeyStorage`], also with calls at the same time.
///
/// The storage may have other items; the suite adds its own, under ids that start with
/// `conformance-`.
///
/// # Errors
/// The rule that is broken.
pub async fn storage(storage: &dyn BranchKeyStorage) -> Result<(), String> {
    let run = format!("conformance-{}", Uuid::new_v4());
    keeps_items(storage, &run).await?;
    writes_all_or_nothing(storage, &run).await?;
    compares_ciphertexts(storage, &run).await?;
    keeps_branch_keys_apart(storage, &run).await?;
    lets_one_win(storage, &run).await
}

fn check(holds: bool, rule: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(rule.to_owned()) }
}

/// Returns an item with this ciphertext.
fn item(id: &str, kind: &str, ciphertext: u8) -> BranchKeyItem {
    let mut item = BranchKeyItem::new(id, kind);
    item.insert("enc", ItemValue::Bytes(vec![ciphertext; 3]));
    item
}

fn absent(item: BranchKeyItem) -> PutItem {
    PutItem { item, condition: Condition::Absent }
}

fn replacing(item: BranchKeyItem, ciphertext: u8) -> PutItem {
    PutItem { item, condition: Condition::Ciphertext(vec![ciphertext; 3]) }
}

async fn get(storage: &dyn BranchKeyStorage, id: &str, kind: &str) -> Result<Option<BranchKeyItem>, String> {
    storage.get(id, kind).await.map_err(|error| format!("get failed: {error}"))
}

async fn put(storage: &dyn BranchKeyStorage, puts: &[PutItem]) -> Result<(), String> {
    storage.put(puts).await.map_err(|error| format!("put failed: {error}"))
}

async fn refused(storage: &dyn BranchKeyStorage, puts: &[PutItem], rule: &str) -> Result<(), String> {
    let outcome = storage.put(puts).await;
    check(outcome.is_err_and(|error| error.kind() == StorageErrorKind::ConditionFailed), rule)
}

async fn keeps_items(storage: &dyn BranchKeyStorage, run: &str) -> Result<(), String> {
    let id = format!("{run}-ключ \u{1f511}/%&");
    let mut full = item(&id, "branch:ACTIVE", 1);
    full.insert("hierarchy-version", ItemValue::Number("1".to_owned()));
    full.insert("aws-crypto-ec:", ItemValue::Text(String::new()));
    full.insert("aws-crypto-ec:name", ItemValue::Text("\u{1}\n\"value\" ü".to_owned()));
    full.insert("every byte", ItemValue::Bytes((0..=255).collect()));
    check(get(storage, &id, "branch:ACTIVE").await?.is_none(), "an item that was not written is not found")?;
    put(storage, &[absent(full.clone())]).await?;
    check(get(storage, &id, "branch:ACTIVE").await? == Some(full.clone()), "an item is kept exactly")?;
    check(get(storage, &id, "beacon:ACTIVE").await?.is_none(), "an item of another type is not found")?;
    refused(
        storage,
        &[absent(item(&id, "branch:ACTIVE", 2))],
        "an existing item fails the condition that it is absent",
    )
    .await?;
    check(get(storage, &id, "branch:ACTIVE").await? == Some(full), "a refused write changes nothing")
}

async fn writes_all_or_nothing(storage: &dyn BranchKeyStorage, run: &str) -> Result<(), String> {
    let id = format!("{run}-transaction");
    put(storage, &[absent(item(&id, "c", 1))]).await?;
    let puts = ["a", "b", "c"].map(|kind| absent(item(&id, kind, 2)));
    refused(storage, &puts, "one condition that does not hold refuses the whole write").await?;
    for kind in ["a", "b"] {
        check(get(storage, &id, kind).await?.is_none(), "of a refused write nothing is stored")?;
    }
    check(get(storage, &id, "c").await? == Some(item(&id, "c", 1)), "a refused write changes no item")?;
    put(storage, &["a", "b"].map(|kind| absent(item(&id, kind, 3)))).await?;
    for kind in ["a", "b"] {
        check(get(storage, &id, kind).await? == Some(item(&id, kind, 3)), "a write stores all of its items")?;
    }
    Ok(())
}

async fn compares_ciphertexts(storage: &dyn BranchKeyStorage, run: &str) -> Result<(), String> {
    let id = format!("{run}-lock");
    refused(storage, &[replacing(item(&id, "x", 2), 1)], "a missing item has no ciphertext").await?;
    put(storage, &[absent(item(&id, "x", 1))]).await?;
    refused(storage, &[replacing(item(&id, "x", 3), 2)], "another ciphertext fails the condition").await?;
    put(storage, &[replacing(item(&id, "x", 2), 1)]).await?;
    check(get(storage, &id, "x").await? == Some(item(&id, "x", 2)), "an item is replaced as a whole")
}

async fn keeps_branch_keys_apart(storage: &dyn BranchKeyStorage, run: &str) -> Result<(), String> {
    let (short, long) = (format!("{run}-id"), format!("{run}-id-longer"));
    put(storage, &[absent(item(&short, "a", 1)), absent(item(&short, "b", 1)), absent(item(&long, "a", 2))]).await?;
    let items = storage.items_of(&short).await.map_err(|error| format!("items_of failed: {error}"))?;
    let mut kinds: Vec<_> = items.iter().map(|item| (item.id(), item.kind())).collect();
    kinds.sort_unstable();
    check(kinds == [(short.as_str(), "a"), (&short, "b")], "items_of returns the items of one id, each once")?;
    let ids = storage.ids().await.map_err(|error| format!("ids failed: {error}"))?;
    for id in [&short, &long] {
        check(ids.iter().filter(|found| *found == id).count() == 1, "ids returns each id once")?;
    }
    Ok(())
}

/// The number of writes at the same time.
const CROWD: u8 = 16;

async fn lets_one_win(storage: &dyn BranchKeyStorage, run: &str) -> Result<(), String> {
    let id = format!("{run}-race");
    put(storage, &[absent(item(&id, "x", 0))]).await?;
    let writes = (1..=CROWD).map(|number| {
        let puts = [replacing(item(&id, "x", number), 0), absent(item(&id, &number.to_string(), number))];
        async move { storage.put(&puts).await.is_ok().then_some(number) }
    });
    let winners: Vec<u8> = join_all(writes).await.into_iter().flatten().collect();
    let [winner] = winners[..] else { return Err("of several writes with one condition, exactly one succeeds".into()) };
    check(get(storage, &id, "x").await? == Some(item(&id, "x", winner)), "the item is the winner's")?;
    let items = storage.items_of(&id).await.map_err(|error| format!("items_of failed: {error}"))?;
    check(items.len() == 2, "the other writes store nothing")
}
