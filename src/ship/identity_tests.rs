//! What an instance and EC2 are asked for a cluster's name.

use super::*;
use crate::ship::double_tests::{Double, Reply, Request, config};
use std::collections::BTreeMap;

const NOW: i64 = 1_800_000_000;
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n";

/// An instance whose metadata and whose EC2 are one side.
#[derive(Clone, Default)]
struct Instance {
    /// Those that the metadata service shows; `None` where it shows none.
    metadata: Option<BTreeMap<&'static str, &'static str>>,
    /// What EC2 answers.
    ec2: Option<(u16, String)>,
}

impl Instance {
    fn answer(&self, request: &Request) -> Reply {
        let text = |body: &str| Reply::Raw(200, "", body.to_owned());
        let none = Reply::Raw(404, "", String::new());
        let line = request.line.as_str();
        if line == "PUT /latest/api/token" {
            return Reply::Raw(200, TTL, "token".to_owned());
        }
        if line == "POST /" {
            let (status, body) = self.ec2.clone().unwrap_or((500, String::new()));
            return Reply::Raw(status, "content-type: text/xml\r\n", body);
        }
        if request.header("x-aws-ec2-metadata-token") != Some("token") {
            return Reply::Raw(401, "", String::new());
        }
        if line == format!("GET {DOCUMENT}") {
            return text(
                "{\"instanceId\": \"i-0abc\", \"region\": \"eu-north-1\", \"pendingTime\": \"\"}",
            );
        }
        let Some(tags) = &self.metadata else { return none };
        if line == format!("GET {TAG_KEYS}") {
            return text(&tags.keys().copied().collect::<Vec<_>>().join("\n"));
        }
        let tag = line.strip_prefix(&format!("GET {TAG_KEYS}/"));
        tag.and_then(|tag| tags.get(tag)).map_or(none, |value| text(value))
    }
}

/// The answer, and what was asked for it.
async fn ask(instance: Instance) -> (Result<Identity, Unknown>, Vec<Request>) {
    let double = Double::start(move |_, request| instance.answer(request)).await;
    let url = format!("http://{}", double.address);
    let aws = Aws::fixed(config(double.address));
    let imds = metadata_client(&aws).endpoint(&url).unwrap().build();
    let answer = by_instance(&aws, &imds, &|_| None, NOW).await;
    (answer, double.take())
}

fn described(tags: &[(&str, &str)]) -> (u16, String) {
    let items: String = tags
        .iter()
        .map(|(k, v)| {
            format!("<item><resourceId>i-0abc</resourceId><key>{k}</key><value>{v}</value></item>")
        })
        .collect();
    let open = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DescribeTagsResponse xmlns=\"u\">";
    (200, format!("{open}<requestId>r</requestId><tagSet>{items}</tagSet></DescribeTagsResponse>"))
}

fn known(name: &str, source: Source) -> Result<Identity, Unknown> {
    Ok(Identity { name: name.to_owned(), source })
}

#[test]
fn what_is_given_wins_over_labels_and_blanks_are_nothing() {
    let name = |given, labels| without_asking(given, labels).map(|i| (i.name, i.source));
    assert_eq!(name(Some(" a "), Some("b")), Some(("a".to_owned(), Source::Given)));
    assert_eq!(name(Some(" "), Some("b")), Some(("b".to_owned(), Source::Labels)));
    assert_eq!(name(None, Some("")), None);
}

#[tokio::test]
async fn tags_by_metadata_are_taken_in_order() {
    let tags = |tags: &[(&'static str, &'static str)]| Some(tags.iter().copied().collect());
    let all = tags(&[("Name", "n"), ("CLUSTER_ID", "c"), ("eks:cluster-name", "e")]);
    let (answer, asked) = ask(Instance { metadata: all, ec2: None }).await;
    assert_eq!(answer, known("e", Source::Metadata("eks:cluster-name")));
    assert!(asked.iter().all(|request| request.line != "POST /"));
    let blank = tags(&[("Name", "n"), ("eks:cluster-name", " ")]);
    let (answer, _) = ask(Instance { metadata: blank, ec2: None }).await;
    assert_eq!(answer, known("n", Source::Metadata("Name")));
    // What it shows is all there is.
    let (answer, asked) = ask(Instance { metadata: tags(&[("other", "x")]), ec2: None }).await;
    let words = answer.unwrap_err().to_string();
    assert!(words.contains("--cluster.name or AWS_CLUSTER_ID"), "{words}");
    assert!(
        words.contains("the instance has no tag eks:cluster-name, CLUSTER_ID, Name"),
        "{words}"
    );
    assert!(asked.iter().all(|request| request.line != "POST /"));
}

#[tokio::test]
async fn without_tags_by_metadata_ec2_is_asked_once() {
    let ec2 = Some(described(&[("Name", "n"), ("CLUSTER_ID", "a &amp; b")]));
    let (answer, asked) = ask(Instance { metadata: None, ec2 }).await;
    assert_eq!(answer, known("a & b", Source::Ec2("CLUSTER_ID")));
    let calls: Vec<_> = asked.iter().filter(|request| request.line == "POST /").collect();
    assert_eq!(calls.len(), 1);
    let form = String::from_utf8(calls[0].body.clone()).unwrap();
    assert!(form.contains("Value.1=i-0abc") && form.contains("eks%3Acluster-name"), "{form}");
    let signature = calls[0].header("authorization").unwrap();
    let wanted = "aws4-hmac-sha256 credential=akid/20270115/eu-north-1/ec2/aws4_request";
    assert!(signature.starts_with(wanted), "{signature}");
}

#[tokio::test]
async fn what_ec2_says_instead_is_told() {
    let denied = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not \
        authorized</Message></Error></Errors></Response>";
    for (ec2, wanted) in [
        (
            (403, denied.to_owned()),
            "allow ec2:DescribeTags: EC2 answers with status 403 UnauthorizedOperation",
        ),
        (described(&[]), "instance i-0abc has no tag eks:cluster-name, CLUSTER_ID, Name, says EC2"),
        ((200, "<html></html>".to_owned()), "its answer is no DescribeTagsResponse"),
        ((503, String::new()), "EC2 answers with status 503"),
    ] {
        let (answer, _) = ask(Instance { metadata: None, ec2: Some(ec2) }).await;
        let words = answer.unwrap_err().to_string();
        assert!(words.contains(wanted), "{words}");
        assert!(words.contains("the instance metadata service shows no tags"), "{words}");
    }
}

#[tokio::test]
async fn a_metadata_service_that_hangs_or_is_blocked_is_named() {
    for (reply, wanted) in [
        (Reply::Hang, "hop limit is 2"),
        (Reply::Raw(403, "", String::new()), "cannot be reached"),
        (Reply::Cut, "cannot be reached"),
    ] {
        let told = reply.clone();
        let double = Double::start(move |_, _| told.clone()).await;
        let aws = Aws::fixed(config(double.address));
        let url = format!("http://{}", double.address);
        let imds = metadata_client(&aws).endpoint(&url).unwrap().build();
        let words = by_instance(&aws, &imds, &|_| None, NOW).await.unwrap_err().to_string();
        assert!(words.contains(wanted), "{reply:?}: {words}");
        assert!(words.contains("--cluster.name"), "{words}");
    }
}
