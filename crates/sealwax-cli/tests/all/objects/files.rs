//! Objects in the local file system.

use serde_json::json;

use super::Tool;

#[test]
fn a_directory_is_a_store() {
    let tool = Tool::new("http://127.0.0.1:9");
    let root = tool.place.directory.path().canonicalize().unwrap();
    tool.place.write("plain", b"text");
    for name in ["a", "dir/b c", "dir/%41?x#y"] {
        let url = format!("file://{}/store/{name}", root.display());
        tool.with_key(&["encrypt", "plain", "-o", &url]);
        tool.refused(&["encrypt", "plain", "-o", &url], 6, "use --force");
        tool.with_key(&["encrypt", "-f", "plain", "-o", &url]);
        assert_eq!(tool.with_key(&["decrypt", &url, "-o", "-"]), b"text");
        assert_eq!(tool.with_key(&["decrypt", "--range", "1-2", &url, "-o", "-"]), b"ex");
        assert!(root.join("store").join(name).is_file());
        // The path that an object is bound to is the whole path in the file system.
        let path = format!("{}/store/{name}", root.strip_prefix("/").unwrap().display());
        assert_eq!(tool.json(&["inspect", &url])[0]["required_encryption_context"], json!({"sealwax-path": path}));
    }
    let store = format!("file://{}/store", root.display());
    let listed = tool.json(&["ls", "-r", &store]);
    assert!(listed.len() == 3 && listed.iter().all(|row| row["plaintext_length"] == 4), "{listed:?}");
    tool.with_key(&["verify", "-r", &store]);
    tool.with_key(&["reencrypt", "-r", &store]);
    tool.refused(&["verify", &format!("{store}/missing")], 1, "no such object");
    // Whatever is no message has no length.
    std::fs::write(root.join("store/clear"), b"clear").unwrap();
    let listed = tool.json(&["ls", &format!("{store}/clear")]);
    assert_eq!(listed[0]["plaintext_length"], json!(null));
    tool.refused(&["verify", &format!("{store}/clear")], 3, "clear");
}
