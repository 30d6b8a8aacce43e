//! One DescribeTags call of EC2. Comes in: an instance and the keys that are wanted. Goes out: keys with
//! their values, or why not. EC2's SDK would be many times the size of this. Never: a second try.

use super::super::aws;
use super::xml;
use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use std::time::{Duration, UNIX_EPOCH};

const VERSION: &str = "2016-11-15";
const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";
/// To connect, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// To the head of the answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of an answer: one with three tags has a thousand.
const LARGEST: usize = 1 << 20;

/// The tags of an instance that have one of these keys.
///
/// # Errors
/// Why EC2 does not say it, with the right to look at.
pub(super) async fn tags(
    config: &SdkConfig,
    instance: &str,
    region: &str,
    keys: &[&str],
    variable: &(dyn Fn(&str) -> Option<String> + Sync),
    now: i64,
) -> Result<Vec<(String, String)>, String> {
    let url = endpoint(config, region, variable);
    let request = request(config, &url, region, form(instance, keys), now).await?;
    let settings = HttpConnectorSettings::builder();
    let settings = settings.connect_timeout(CONNECT).read_timeout(ANSWER).build();
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
    let connector =
        Connector::builder().connector_settings(settings).tls_provider(provider).build();
    let failed = |words: String| format!("EC2 at {url} cannot be asked for tags: {words}");
    let answer = connector.call(request).await.map_err(|e| failed(aws::words(&e)))?;
    let status = answer.status().as_u16();
    let mut body = ByteStream::new(answer.into_body());
    let mut text = Vec::new();
    while let Some(part) = body.next().await {
        text.extend_from_slice(&part.map_err(|e| failed(aws::words(&e)))?);
        if text.len() > LARGEST {
            return Err(failed("its answer does not end".to_owned()));
        }
    }
    let text = String::from_utf8_lossy(&text);
    if status == 200 {
        found(&text).ok_or_else(|| failed("its answer is no DescribeTagsResponse".to_owned()))
    } else {
        Err(refusal(status, &text))
    }
}

/// Where EC2 is: the helper's variable, the SDK's, else by region.
fn endpoint(
    config: &SdkConfig,
    region: &str,
    variable: &(dyn Fn(&str) -> Option<String> + Sync),
) -> String {
    let custom = variable("AWS_EC2_ENDPOINT")
        .or_else(|| variable("AWS_ENDPOINT_URL_EC2"))
        .or_else(|| config.endpoint_url().map(str::to_owned));
    let (fips, dual) = (config.use_fips() == Some(true), config.use_dual_stack() == Some(true));
    let mut url = match custom {
        // The helper's may be a host alone.
        Some(url) if url.contains("://") => url,
        Some(host) => format!("https://{host}"),
        None => format!("https://{}", host(region, fips, dual)),
    };
    if !url.ends_with('/') {
        url.push('/');
    }
    url
}

fn host(region: &str, fips: bool, dual: bool) -> String {
    // By the beginning of a region's name: the partition's domain, and the one that speaks IPv6, too.
    const PARTITIONS: [(&str, &str, Option<&str>); 7] = [
        ("cn-", "amazonaws.com.cn", Some("api.amazonwebservices.com.cn")),
        ("eusc-", "amazonaws.eu", Some("api.amazonwebservices.eu")),
        ("us-iso-", "c2s.ic.gov", None),
        ("us-isob-", "sc2s.sgov.gov", None),
        ("eu-isoe-", "cloud.adc-e.uk", None),
        ("us-isof-", "csp.hci.ic.gov", None),
        ("", "amazonaws.com", Some("api.aws")),
    ];
    let partition = PARTITIONS.iter().find(|(prefix, ..)| region.starts_with(prefix));
    let (domain, both) =
        partition.map_or(("amazonaws.com", None), |&(_, domain, both)| (domain, both));
    // GovCloud has no other endpoints than those.
    let fips = if fips && (dual || !region.starts_with("us-gov-")) { "-fips" } else { "" };
    format!("ec2{fips}.{region}.{}", both.filter(|_| dual).unwrap_or(domain))
}

fn form(instance: &str, keys: &[&str]) -> String {
    let mut form = format!("Action=DescribeTags&Version={VERSION}");
    form += "&Filter.1.Name=resource-id&Filter.1.Value.1=";
    escape(&mut form, instance);
    form += "&Filter.2.Name=key";
    for (n, key) in (1..).zip(keys) {
        form += &format!("&Filter.2.Value.{n}=");
        escape(&mut form, key);
    }
    form
}

fn escape(form: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            form.push(char::from(byte));
        } else {
            form.push_str(&format!("%{byte:02X}"));
        }
    }
}

async fn request(
    config: &SdkConfig,
    url: &str,
    region: &str,
    form: String,
    now: i64,
) -> Result<HttpRequest, String> {
    let provider = config.credentials_provider().ok_or("no AWS credentials")?;
    let credentials = provider.provide_credentials().await;
    let identity =
        credentials.map_err(|error| format!("no AWS credentials: {}", aws::words(&error)))?.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("ec2")
        .time(UNIX_EPOCH + Duration::from_secs(now.unsigned_abs()))
        .settings(SigningSettings::default())
        .build();
    let parameters = parameters.map_err(|error| aws::words(&error))?.into();
    let headers = [("content-type", CONTENT_TYPE)];
    let body = SignableBody::Bytes(form.as_bytes());
    let signable = SignableRequest::new("POST", url, headers.into_iter(), body);
    let signed = signable.and_then(|request| sign(request, &parameters));
    let (instructions, _) = signed.map_err(|error| aws::words(&error))?.into_parts();
    let (signature, _) = instructions.into_parts();
    let wrong = |what: &dyn std::fmt::Display| format!("{url}: {what}");
    let mut request = HttpRequest::new(SdkBody::from(form));
    request.set_method("POST").map_err(|error| wrong(&error))?;
    request.set_uri(url).map_err(|error| wrong(&error))?;
    request.headers_mut().insert("content-type", CONTENT_TYPE);
    for header in signature {
        let name = header.name();
        let set = request.headers_mut().try_insert(name, header.value().to_owned());
        set.map_err(|error| wrong(&error))?;
    }
    Ok(request)
}

/// The tags in an answer.
fn found(text: &str) -> Option<Vec<(String, String)>> {
    let root = xml::read(text).filter(|root| root.name == "DescribeTagsResponse")?;
    let items = root.child("tagSet")?.children.iter().filter(|item| item.name == "item");
    items.map(|i| Some((i.child("key")?.text.clone(), i.child("value")?.text.clone()))).collect()
}

/// What an answer says that is none.
fn refusal(status: u16, text: &str) -> String {
    let root = xml::read(text);
    let error = root.as_ref().and_then(|root| root.child("Errors")?.child("Error"));
    let said = |name| error.and_then(|e| e.child(name)).map(|e| e.text.as_str());
    let code = said("Code").unwrap_or_default();
    let right = if status == 403 || code == "UnauthorizedOperation" {
        "allow ec2:DescribeTags: "
    } else {
        ""
    };
    let message = said("Message").unwrap_or_default();
    format!("{right}EC2 answers with status {status} {code} {message}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_has_its_host() {
        for (region, fips, dual, wanted) in [
            ("eu-central-1", false, false, "ec2.eu-central-1.amazonaws.com"),
            ("us-east-1", true, false, "ec2-fips.us-east-1.amazonaws.com"),
            ("us-east-1", false, true, "ec2.us-east-1.api.aws"),
            ("us-east-1", true, true, "ec2-fips.us-east-1.api.aws"),
            ("us-gov-west-1", true, false, "ec2.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", false, false, "ec2.cn-north-1.amazonaws.com.cn"),
            ("cn-north-1", false, true, "ec2.cn-north-1.api.amazonwebservices.com.cn"),
            ("eusc-de-east-1", false, false, "ec2.eusc-de-east-1.amazonaws.eu"),
            ("us-isob-east-1", false, false, "ec2.us-isob-east-1.sc2s.sgov.gov"),
        ] {
            assert_eq!(host(region, fips, dual), wanted);
        }
    }

    #[test]
    fn a_custom_endpoint_is_taken_the_helpers_first() {
        let config = SdkConfig::builder().endpoint_url("http://all:1").build();
        let url = |variables: &'static [(&str, &str)]| {
            endpoint(&config, "eu-west-1", &move |name: &str| {
                let found = variables.iter().find(|(n, _)| *n == name)?;
                Some(found.1.to_owned())
            })
        };
        assert_eq!(url(&[]), "http://all:1/");
        assert_eq!(url(&[("AWS_ENDPOINT_URL_EC2", "http://ec2:2")]), "http://ec2:2/");
        let both = &[("AWS_ENDPOINT_URL_EC2", "http://ec2:2"), ("AWS_EC2_ENDPOINT", "own.host")];
        assert_eq!(url(both), "https://own.host/");
    }

    #[test]
    fn a_form_asks_for_all_keys_at_once() {
        assert_eq!(
            form("i-0a", &["eks:cluster-name", "Name"]),
            "Action=DescribeTags&Version=2016-11-15&Filter.1.Name=resource-id&Filter.1.Value.1=i-0a\
             &Filter.2.Name=key&Filter.2.Value.1=eks%3Acluster-name&Filter.2.Value.2=Name"
        );
    }

    #[test]
    fn answers_are_read() {
        let text = "<?xml version=\"1.0\"?><DescribeTagsResponse xmlns=\"a\"><requestId>r</requestId>\
            <tagSet><item><resourceId>i-0a</resourceId><key>Name</key><value>a &amp; b</value></item>\
            </tagSet></DescribeTagsResponse>";
        assert_eq!(found(text), Some(vec![("Name".to_owned(), "a & b".to_owned())]));
        assert_eq!(found("<html></html>"), None);
        let text = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message>\
            </Error></Errors><RequestID>r</RequestID></Response>";
        let words = "allow ec2:DescribeTags: EC2 answers with status 403 UnauthorizedOperation no";
        assert_eq!(refusal(403, text), words);
        assert_eq!(refusal(500, "oops"), "EC2 answers with status 500");
    }
}
