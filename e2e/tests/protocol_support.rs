//! `docs/protocol-support.md` is the table of APIs, printed: committed, never edited by hand, proved fresh here.
//! `BARNABAS_BLESS=1 cargo test -p e2e --test protocol_support` writes it anew.

use protocol::api::TABLE;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol-support.md");

fn document() -> String {
    let mut text = String::from(
        "# What Barnabas speaks of the Kafka protocol\n\n\
         Generated from the one table, `protocol/src/api.rs`. The ranges are those of Kafka 4.3. An API that is not here is not\n\
         advertised, and a request of it ends its connection, as in Kafka.\n\n\
         | key | API | versions |\n|---|---|---|\n",
    );
    for api in TABLE {
        if let Some(range) = api.advertised {
            let note = if range.min < api.accepted.min {
                format!(", accepted from {}", api.accepted.min)
            } else {
                String::new()
            };
            let line = format!(
                "| {} | {} | {}-{}{note} |\n",
                api.key.code(),
                api.key,
                range.min,
                range.max
            );
            text.push_str(&line);
        }
    }
    text.push_str(
        "\nProduce is advertised from 0 because librdkafka before 2.11.1 takes a higher minimum to mean that the broker knows no\n\
         compression. The ACL APIs answer SECURITY_DISABLED, as Kafka does without an authorizer.\n",
    );
    text
}

#[test]
fn the_committed_table_is_the_one_in_the_code() {
    let fresh = document();
    if std::env::var_os("BARNABAS_BLESS").is_some() {
        std::fs::write(PATH, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(PATH).unwrap_or_default();
    assert_eq!(
        committed, fresh,
        "run: BARNABAS_BLESS=1 cargo test -p e2e --test protocol_support"
    );
}
