//! `serin outputs retry-dead NAME`: events that a receiver refused are offered to it again, outside of
//! the journal's order.

use std::path::Path;
use std::sync::Arc;

use serin_event::Record;
use tokio::time::timeout;

use super::delivery::Policy;
use super::secret::Redactor;
use super::trial::beside;
use super::{Delivery, Item, Outcome, OutputConf, built};

/// What became of each record, in their order; those that come after a failure that concerns all are
/// not tried any more, and have none.
pub struct Again {
    /// Number of the record, and why it was refused again where it was.
    pub each: Vec<(u64, Result<(), String>)>,
    /// Why the others were not tried.
    pub stopped: Option<String>,
}

/// Offers the records again, one by one. `key` makes the keyed hashes of this sensor,
/// `folder` is its state's.
///
/// # Errors
///
/// When the output cannot be built of its settings.
pub async fn again(
    conf: &OutputConf,
    key: Vec<u8>,
    folder: &Path,
    records: Vec<Record>,
) -> Result<Again, String> {
    let redactor = Redactor::new(conf);
    let policy = Policy::new(conf.output, &conf.conf, || key).map_err(|it| built(&it))?;
    let mut output = beside(conf, folder)?;
    let deadline = output.deadline();
    let mut done = Again { each: Vec::new(), stopped: None };
    for record in records {
        let seq = record.seq;
        let record = policy.conceal(Arc::new(record));
        let Some(body) = output.encode(&record) else {
            done.each.push((seq, Err("this output does not take such events".to_owned())));
            continue;
        };
        output.hurry();
        let batch = [Item { record, body }];
        let outcome = match timeout(deadline, output.deliver(&batch)).await {
            Ok(Delivery::Whole(outcome)) => Some(outcome),
            Ok(Delivery::Each(outcomes)) => outcomes.into_iter().next(),
            Err(_) => Some(Outcome::retry(format!("no answer within {} s", deadline.as_secs()))),
        };
        let why = match outcome {
            Some(Outcome::Delivered | Outcome::Duplicate) => {
                done.each.push((seq, Ok(())));
                continue;
            }
            Some(Outcome::Reject(why)) => {
                done.each.push((seq, Err(redactor.clean(&why))));
                continue;
            }
            Some(Outcome::Retry { why, .. } | Outcome::Hold(why) | Outcome::Gone(why)) => why,
            Some(Outcome::Wait(time)) => format!("the output wants to wait {} s first", time.as_secs()),
            None => "the output did not say what became of it".to_owned(),
        };
        done.stopped = Some(redactor.clean(&why));
        break;
    }
    match timeout(deadline, output.sync()).await {
        Ok(Ok(())) => Ok(done),
        Ok(Err(why)) => Err(redactor.clean(&why)),
        Err(_) => Err(format!("no answer within {} s", deadline.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use serin_event::{Event, Tainted, Timestamp, kinds};
    use serin_services::conf::Conf;

    use super::*;
    use crate::outputs::by_name;

    #[tokio::test]
    async fn what_is_offered_again_is_concealed_and_destroys_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "what was there\n").unwrap();
        let mut conf = Conf::new();
        conf.set("file.path", path.to_str().unwrap());
        conf.set("file.truncate", true);
        conf.set("delivery.passwords", "drop");
        let conf = OutputConf { name: "siem".to_owned(), output: by_name("file").unwrap(), conf };
        let event = Event::new(&kinds::FTP_LOGIN).with("PASSWORD", Tainted::new(b"s3cret", 64));
        let record = Record { seq: 7, ..Record::of(&event, Timestamp(0), 0, "node") };
        let done = again(&conf, Vec::new(), folder.path(), vec![record]).await.unwrap();
        assert_eq!((done.each, done.stopped), (vec![(7, Ok(()))], None));
        let found = std::fs::read_to_string(&path).unwrap();
        let line = found.strip_prefix("what was there\n").unwrap();
        assert!(line.contains("\"logtype\": 2000") && !line.contains("s3cret"), "{line}");
    }
}
