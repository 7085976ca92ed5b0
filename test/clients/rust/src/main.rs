//! TiKV's official Rust client against a cluster: every raw operation, over regions that split meanwhile. Prints one
//! line per check and ends with "N passed, M failed".
//!
//!     cargo run -- 127.0.0.1:2379 [v2]
//!
//! `v2`: keys of keyspace DEFAULT, of a cluster with `storage.api-version = 2`.
use std::future::Future;
use std::time::Duration;
use tikv_client::{Config, KvPair, RawClient};

type Outcome = Result<(), String>;

#[derive(Default)]
struct Counts {
    passed: u32,
    failed: u32,
}

impl Counts {
    async fn check(&mut self, name: &str, run: impl Future<Output = Outcome>) {
        let outcome = match tokio::time::timeout(Duration::from_secs(30), run).await {
            Ok(outcome) => outcome,
            Err(_) => Err("no answer within 30 s".into()),
        };
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok   {name}");
            }
            Err(reason) => {
                self.failed += 1;
                println!("FAIL {name}: {}", reason.replace('\n', " "));
            }
        }
    }
}

fn text<E: std::fmt::Display>(error: E) -> String {
    error.to_string()
}

fn expect<T: PartialEq + std::fmt::Debug>(got: T, want: T) -> Outcome {
    if got == want {
        return Ok(());
    }
    Err(format!("got {got:?}, want {want:?}"))
}

fn key(number: usize) -> String {
    format!("rust/{number:04}")
}

fn value(number: usize) -> Vec<u8> {
    format!("value {number}").into_bytes()
}

fn pairs(numbers: std::ops::Range<usize>) -> Vec<KvPair> {
    numbers.map(|i| KvPair::new(key(i), value(i))).collect()
}

fn names(found: Vec<tikv_client::Key>) -> Vec<String> {
    found
        .into_iter()
        .map(|each| String::from_utf8_lossy(&Vec::<u8>::from(each)).into_owned())
        .collect()
}

fn keys_of(found: Vec<KvPair>) -> Vec<String> {
    names(found.into_iter().map(|pair| pair.into_key()).collect())
}

fn numbered(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(key).collect()
}

async fn single_keys(counts: &mut Counts, client: &RawClient) {
    counts
        .check("put and get", async {
            client.put(key(1), value(1)).await.map_err(text)?;
            expect(client.get(key(1)).await.map_err(text)?, Some(value(1)))
        })
        .await;
    counts
        .check("get of an absent key", async {
            expect(client.get(key(9999)).await.map_err(text)?, None)
        })
        .await;
    counts
        .check("overwrite", async {
            client.put(key(1), value(2)).await.map_err(text)?;
            expect(client.get(key(1)).await.map_err(text)?, Some(value(2)))
        })
        .await;
    counts
        .check("empty value", async {
            client.put(key(1), vec![]).await.map_err(text)?;
            expect(client.get(key(1)).await.map_err(text)?, Some(vec![]))
        })
        .await;
    counts
        .check("a value of 1 MiB", async {
            let large = vec![7u8; 1 << 20];
            client.put(key(2), large.clone()).await.map_err(text)?;
            expect(client.get(key(2)).await.map_err(text)?.map(|found| found == large), Some(true))
        })
        .await;
    counts
        .check("delete", async {
            client.delete(key(1)).await.map_err(text)?;
            expect(client.get(key(1)).await.map_err(text)?, None)
        })
        .await;
    counts
        .check("time to live", async {
            client.put_with_ttl(key(3), value(3), 100).await.map_err(text)?;
            let left = client.get_key_ttl_secs(key(3)).await.map_err(text)?;
            expect(left.is_some_and(|seconds| (90..=100).contains(&seconds)), true)
        })
        .await;
    counts
        .check("an expired key is gone", async {
            client.put_with_ttl(key(4), value(4), 1).await.map_err(text)?;
            tokio::time::sleep(Duration::from_millis(2_100)).await;
            expect(client.get(key(4)).await.map_err(text)?, None)
        })
        .await;
}

async fn many_keys(counts: &mut Counts, client: &RawClient) {
    counts
        .check("batch put and batch get", async {
            client.batch_put(pairs(0..300)).await.map_err(text)?;
            let found = client.batch_get((0..300).map(key)).await.map_err(text)?;
            let mut found = keys_of(found);
            found.sort();
            expect(found, numbered(0..300))
        })
        .await;
    counts
        .check("batch get leaves out absent keys", async {
            let found = client.batch_get([key(5), key(8888)]).await.map_err(text)?;
            expect(keys_of(found), numbered(5..6))
        })
        .await;
    counts
        .check("scan", async {
            let found = client.scan(key(10)..key(20), 100).await.map_err(text)?;
            expect(found, pairs(10..20))
        })
        .await;
    counts
        .check("scan with a limit", async {
            let found = client.scan(key(10)..key(200), 7).await.map_err(text)?;
            expect(keys_of(found), numbered(10..17))
        })
        .await;
    counts
        .check("scan up to and with a key", async {
            let found = client.scan(key(10)..=key(12), 100).await.map_err(text)?;
            expect(keys_of(found), numbered(10..13))
        })
        .await;
    counts
        .check("scan of keys alone", async {
            let found = client.scan_keys(key(30)..key(35), 100).await.map_err(text)?;
            expect(names(found), numbered(30..35))
        })
        .await;
    counts
        .check("scan backwards", async {
            let found = client.scan_reverse(key(30)..key(35), 3).await.map_err(text)?;
            expect(keys_of(found), numbered((32..35).rev()))
        })
        .await;
    counts
        .check("batch scan", async {
            let ranges = vec![key(10)..key(12), key(50)..key(52)];
            let mut found = keys_of(client.batch_scan(ranges, 10).await.map_err(text)?);
            found.sort();
            expect(found, numbered([10, 11, 50, 51].into_iter()))
        })
        .await;
    counts
        .check("batch delete", async {
            client.batch_delete((100..110).map(key)).await.map_err(text)?;
            let found = client.scan(key(98)..key(112), 100).await.map_err(text)?;
            expect(keys_of(found), numbered([98, 99, 110, 111].into_iter()))
        })
        .await;
    counts
        .check("delete of a range", async {
            client.delete_range(key(200)..key(290)).await.map_err(text)?;
            let found = client.scan(key(199)..key(300), 100).await.map_err(text)?;
            expect(keys_of(found), numbered([199].into_iter().chain(290..300)))
        })
        .await;
}

async fn swaps(counts: &mut Counts, client: &RawClient) {
    let atomic = client.with_atomic_for_cas();
    let swap = |previous: Option<Vec<u8>>, next: Vec<u8>| {
        let atomic = atomic.clone();
        async move { atomic.compare_and_swap(key(400), previous, next).await.map_err(text) }
    };
    counts
        .check("compare and swap of an absent key", async {
            expect(swap(None, value(1)).await?, (None, true))
        })
        .await;
    counts
        .check("compare and swap that finds another value", async {
            expect(swap(Some(value(7)), value(8)).await?, (Some(value(1)), false))
        })
        .await;
    counts
        .check("compare and swap that finds its value", async {
            expect(swap(Some(value(1)), value(2)).await?, (Some(value(1)), true))?;
            expect(client.get(key(400)).await.map_err(text)?, Some(value(2)))
        })
        .await;
    counts
        .check("of swaps at the same time one wins", async {
            let mut running = Vec::new();
            for i in 0..16 {
                running.push(tokio::spawn(swap(Some(value(2)), value(1000 + i))));
            }
            let mut won = 0;
            for each in running {
                if each.await.map_err(text)??.1 {
                    won += 1;
                }
            }
            expect(won, 1)
        })
        .await;
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let pd = arguments.next().unwrap_or_else(|| "127.0.0.1:2379".into());
    let is_v2 = arguments.next().is_some_and(|word| word == "v2");
    let config = Config::default().with_timeout(Duration::from_secs(10));
    let config = if is_v2 { config.with_default_keyspace() } else { config };
    let client = match RawClient::new_with_config(vec![pd], config).await {
        Ok(client) => client,
        Err(error) => {
            println!("FAIL connect: {error}\n0 passed, 1 failed");
            std::process::exit(1);
        }
    };
    let mut counts = Counts::default();
    counts
        .check("clear what an earlier run left", async {
            client.delete_range("rust/".to_owned().."rust0".to_owned()).await.map_err(text)
        })
        .await;
    single_keys(&mut counts, &client).await;
    many_keys(&mut counts, &client).await;
    swaps(&mut counts, &client).await;
    println!("{} passed, {} failed", counts.passed, counts.failed);
    if counts.failed > 0 {
        std::process::exit(1);
    }
}
