//! `serin outputs test NAME`: one labelled event for one output, outside of the journal.

use std::path::Path;
use std::sync::Arc;

use serin_event::{Event, Record, Timestamp, kinds};
use tokio::time::timeout;

use super::secret::Redactor;
use super::{Carries, Delivery, Item, Outcome, Output, OutputConf, built};
use crate::incidents::Notice;

/// The node that a test is from: none that exists.
pub(crate) const NODE: &str = "serin-outputs-test";

/// Whether this is the record of such a test.
pub(super) fn is_trial(record: &Record) -> bool {
    &*record.node_id == NODE
}

/// Delivers one record that says of itself that it is a test. The answer tells how strongly the
/// receiver confirmed it. `folder`: of the sensor's state.
///
/// # Errors
///
/// Why the receiver did not take it, in its own words where it has some.
pub async fn test(conf: &OutputConf, folder: &Path) -> Result<String, String> {
    let redactor = Redactor::new(conf);
    try_it(conf, folder).await.map(|it| redactor.clean(&it)).map_err(|it| redactor.clean(&it))
}

/// The same output in another process than the sensor's: it never destroys what is there.
pub(super) fn beside(conf: &OutputConf, folder: &Path) -> Result<Box<dyn Output>, String> {
    let mut settings = conf.conf.clone();
    let truncate = format!("{}.truncate", conf.output.name);
    if settings.get(&truncate).is_some() {
        settings.set(truncate, false);
    }
    let mut output = (conf.output.build)(&settings).map_err(|it| built(&it))?;
    output.prepare(None)?;
    output.keep_in(folder, &conf.name);
    Ok(output)
}

async fn try_it(conf: &OutputConf, folder: &Path) -> Result<String, String> {
    let mut output = beside(conf, folder)?;
    let record = Arc::new(trial(conf));
    let body = output.encode(&record).ok_or("this output does not take such events")?;
    output.hurry();
    let deadline = output.deadline();
    let late = |_| format!("no answer within {} s", deadline.as_secs());
    let batch = [Item { record, body }];
    let delivery = timeout(deadline, output.deliver(&batch)).await.map_err(late)?;
    let _ = timeout(deadline, output.close()).await;
    let outcome = match delivery {
        Delivery::Whole(outcome) => Some(outcome),
        Delivery::Each(outcomes) => outcomes.into_iter().next(),
    };
    match outcome {
        Some(Outcome::Delivered) => {}
        Some(Outcome::Duplicate) => return Ok("the receiver says that it has it already".to_owned()),
        Some(Outcome::Retry { why, .. } | Outcome::Hold(why) | Outcome::Reject(why) | Outcome::Gone(why)) => {
            return Err(why);
        }
        Some(Outcome::Wait(time)) => {
            return Err(format!("the output wants to wait {} s first", time.as_secs()));
        }
        None => return Err("the output did not say what became of it".to_owned()),
    }
    timeout(deadline, output.sync()).await.map_err(late)??;
    let warning = output.warning().map(|it| format!("; but {it}")).unwrap_or_default();
    Ok(format!("{}{warning}", output.confirms()))
}

/// What the output carries, saying of itself that it is a test.
fn trial(conf: &OutputConf) -> Record {
    let name = &conf.name;
    let text = format!(
        "This is a test of the output {name}, asked for with `serin outputs test`. Nothing happened."
    );
    let now = jiff::Zoned::now();
    let time = Timestamp(now.timestamp().as_microsecond());
    let event = if conf.output.carries == Carries::Events {
        Event::saying(&kinds::MESSAGE, text)
    } else {
        Notice::test(text, time).to_event()
    };
    Record::of(&event, time, now.offset().seconds(), NODE)
}

#[cfg(test)]
mod tests {
    use serin_services::conf::Conf;

    use super::*;
    use crate::outputs::by_name;

    fn conf(path: &Path) -> OutputConf {
        let mut conf = Conf::new();
        conf.set("file.path", path.to_str().unwrap());
        conf.set("file.truncate", true);
        OutputConf { name: "siem".to_owned(), output: by_name("file").unwrap(), conf }
    }

    #[tokio::test]
    async fn a_test_is_labelled_confirmed_and_destroys_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "what was there\n").unwrap();
        assert_eq!(
            test(&conf(&path), Path::new("/nowhere")).await.unwrap(),
            "written to the file and synced to the disk"
        );
        let found = std::fs::read_to_string(&path).unwrap();
        let line: serde_json::Value =
            serde_json::from_str(found.strip_prefix("what was there\n").unwrap()).unwrap();
        assert_eq!(line["logtype"], 1001);
        assert!(
            line["logdata"]["msg"]["logdata"]
                .as_str()
                .unwrap()
                .starts_with("This is a test of the output siem")
        );
    }

    #[tokio::test]
    async fn what_the_receiver_says_against_it_is_told() {
        assert_eq!(
            test(&conf(Path::new("/nowhere/log")), Path::new("/nowhere")).await.unwrap_err(),
            "the folder /nowhere does not exist"
        );
        assert!(
            test(&conf(Path::new("/dev/full")), Path::new("/nowhere"))
                .await
                .unwrap_err()
                .contains("No space left on device")
        );
        assert_eq!(
            test(&conf(Path::new("")), Path::new("/nowhere")).await.unwrap_err(),
            "file.path: wants the path of a file"
        );
    }
}
