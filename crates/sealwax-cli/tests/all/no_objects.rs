//! The tool without object stores.

use crate::place::Place;

#[test]
fn a_url_gets_an_error_that_names_the_feature() {
    let place = Place::new();
    place.write("plain", b"text");
    let (key, url) = (place.key.as_str(), "s3://bucket/key");
    for arguments in [
        &["encrypt", "-k", key, "plain", "-o", url][..],
        &["decrypt", "-k", key, url, "-o", "-"],
        &["decrypt", "-k", key, "--range", "0-1", url, "-o", "-"],
        &["verify", "-k", key, url],
        &["verify", "-r", "-k", key, url],
        &["inspect", url],
        &["reencrypt", "-k", key, url],
        &["reencrypt", "-r", "-k", key, url],
        &["ls", url],
        &["cp", "-k", key, "plain", url],
        &["sync", "-k", key, ".", url],
        &["sync", "-k", key, url, "."],
    ] {
        place.refused(arguments, 2, "built without object stores; build it with the feature object-store");
    }
}
