//! The AWS SDK as this mirror wants it. Comes in: the SDK's own environment and profile. Goes out: a
//! configuration, made when it is first asked for, and what an error of the SDK means for points. Never:
//! a try of the SDK's own after the first, a wait before the mirror's task asks, an error taken as "not
//! sent" that may mean "sent".

use super::parcel::Fault;
use crate::mirror::Trouble;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::OnceCell;

/// To connect, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// From the request to the head of its answer. CloudWatch answers within a second.
const ANSWER: Duration = Duration::from_secs(20);
/// A call as a whole, credentials included: less than an interval, so that one that hangs costs one.
const CALL: Duration = Duration::from_secs(40);
/// To get credentials. A metadata service that hangs (hop limit 1) has cost 3 s by then, STS may take
/// longer.
const CREDENTIALS: Duration = Duration::from_secs(10);
/// A connection is used again for the requests of one batch. One from the interval before may just be
/// closed by the other side when a request is written to it, and nobody could say whether that arrived.
const IDLE: Duration = Duration::from_secs(5);
/// Characters of what the other side says that are repeated.
const WORDS: usize = 500;

/// The SDK's configuration and HTTP client, once they are asked for: one for all of the mirror.
#[derive(Debug)]
pub(super) struct Aws {
    http: OnceLock<SharedHttpClient>,
    config: OnceCell<SdkConfig>,
}

impl Aws {
    /// Nothing is read or asked for yet.
    pub(super) fn new() -> Aws {
        Aws { http: OnceLock::new(), config: OnceCell::new() }
    }

    /// This configuration instead of the environment's.
    #[cfg(test)]
    pub(super) fn fixed(config: SdkConfig) -> Aws {
        let aws = Aws::new();
        let config = config.into_builder().http_client(aws.http()).build();
        Aws { config: OnceCell::new_with(Some(config)), ..aws }
    }

    /// The HTTP client that all calls go through.
    pub(super) fn http(&self) -> SharedHttpClient {
        self.http.get_or_init(http_client).clone()
    }

    /// Region, credentials' sources and endpoints by the SDK's chain. As long as no region is known, each
    /// call looks for one again.
    ///
    /// # Errors
    /// When there is no region.
    pub(super) async fn config(&self) -> Result<&SdkConfig, (Trouble, String)> {
        let load = || async {
            let timeouts = TimeoutConfig::builder()
                .connect_timeout(CONNECT)
                .read_timeout(ANSWER)
                .operation_timeout(CALL)
                .build();
            let credentials =
                aws_config::identity::IdentityCache::lazy().load_timeout(CREDENTIALS).build();
            let config = aws_config::defaults(BehaviorVersion::latest())
                .http_client(self.http())
                .retry_config(RetryConfig::disabled())
                .timeout_config(timeouts)
                .identity_cache(credentials)
                .load()
                .await;
            if config.region().is_some() { Ok(config) } else { Err(no_region()) }
        };
        self.config.get_or_try_init(load).await
    }
}

fn no_region() -> (Trouble, String) {
    let words = "no AWS region is known: set AWS_REGION (AWS_DEFAULT_REGION, the profile and the instance \
                 metadata service name none, or cannot be reached)";
    (Trouble::Region, words.to_owned())
}

fn http_client() -> SharedHttpClient {
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
    Builder::new().pool_idle_timeout(IDLE).tls_provider(provider).build_https()
}

/// Whether a call came so far that its request may have been sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Begun(Arc<AtomicBool>);

impl Begun {
    /// Whether something may have been sent.
    pub(super) fn seen(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Intercept for Begun {
    fn name(&self) -> &'static str {
        "Begun"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.store(true, Ordering::Release);
        Ok(())
    }
}

/// What allows a call.
#[derive(Debug)]
pub(super) struct Right {
    /// The IAM action.
    pub(super) action: &'static str,
    /// What else the operator should look at.
    pub(super) hint: String,
    /// Parameters that all points share: where one of these is invalid, no point is to blame.
    pub(super) shared: &'static [&'static str],
    /// The flag that those come from.
    pub(super) flag: &'static str,
}

/// What an error of a call means.
pub(super) fn fault<E>(right: &Right, error: &SdkError<E, HttpResponse>, begun: &Begun) -> Fault
where
    E: Error + ProvideErrorMetadata + 'static,
{
    if let Some(answer) = error.raw_response() {
        let said = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            _ => words(error),
        };
        return answered(right, answer.status().as_u16(), error.code().unwrap_or_default(), &said);
    }
    let words = words(error);
    if cause::<CredentialsError>(error).is_some() {
        let hint = token_file_hint();
        let words = format!("no AWS credentials: {words}{hint}");
        return Fault::NotTaken(Trouble::Credentials, words);
    }
    let connecting = cause::<hyper_util::client::legacy::Error>(error);
    if connecting.is_some_and(hyper_util::client::legacy::Error::is_connect) {
        return Fault::NotTaken(Trouble::Unreachable, format!("no connection: {words}"));
    }
    if begun.seen() {
        return Fault::Unconfirmed(format!("sent, but not answered, and not sent again: {words}"));
    }
    // Before anything is sent stand the request's making, its credentials and its endpoint. Only
    // credentials may take their time.
    let made = matches!(error, SdkError::ConstructionFailure(_)) || words.contains("endpoint");
    if made {
        let words = format!("{} cannot be asked for: {words}", right.action);
        Fault::NotTaken(Trouble::Refused, words)
    } else {
        Fault::NotTaken(Trouble::Credentials, format!("no AWS credentials: {words}"))
    }
}

/// What an answer that is an error means.
fn answered(right: &Right, status: u16, code: &str, said: &str) -> Fault {
    let said = cut(said);
    let action = right.action;
    let forbidden = |said: &str| {
        let words = format!("allow {action}{}: {said}", right.hint);
        Fault::NotTaken(Trouble::Forbidden, words)
    };
    let not_taken = |trouble, words| Fault::NotTaken(trouble, words);
    match code {
        "InvalidParameterValue"
        | "InvalidParameterValueException"
        | "InvalidParameterCombination"
        | "InvalidParameterCombinationException"
        | "InvalidParameter"
        | "InvalidParameterException"
        | "MissingParameter"
        | "MissingRequiredParameter"
        | "MissingRequiredParameterException"
        | "InvalidFormat"
        | "InvalidFormatFault"
        | "SerializationException"
        | "ValidationError"
        | "ValidationException" => {
            let words = format!("{action} was refused: {said}");
            let shared = right.shared.iter().any(|parameter| said.contains(parameter));
            return if shared {
                not_taken(Trouble::Refused, format!("{words} (from {})", right.flag))
            } else {
                Fault::Invalid(words)
            };
        }
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "NotAuthorized" => {
            return forbidden(&said);
        }
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "SlowDown" => return not_taken(Trouble::Throttled, said),
        "UnrecognizedClient"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidClientTokenIdException"
        | "InvalidAccessKeyId"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "RequestExpired"
        | "AuthFailure"
        | "OptInRequired" => {
            return not_taken(
                Trouble::Credentials,
                format!("the credentials are not accepted: {said}"),
            );
        }
        _ => {}
    }
    match status {
        // A success whose rest is missing says nothing for sure.
        200..300 => Fault::Unconfirmed(format!("half an answer, and not sent again: {said}")),
        413 => Fault::Invalid(format!("{action} was refused as too large: {said}")),
        429 => not_taken(Trouble::Throttled, said),
        401 | 403 => forbidden(&format!("status {status}, {said}")),
        // Not the service's own words: something between says that it does not know.
        502 | 504 => Fault::Unconfirmed(format!("status {status}, and not sent again: {said}")),
        500.. => not_taken(Trouble::Server, format!("status {status}: {said}")),
        _ => not_taken(
            Trouble::Refused,
            format!(
                "{action} was answered with status {status}, {said}: is AWS_ENDPOINT_URL right?"
            ),
        ),
    }
}

/// The first error of this type among the causes.
fn cause<'a, C: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a C> {
    causes(error).find_map(|error| error.downcast_ref())
}

/// An error and its causes, from the outside to the inside.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// An error with its causes, each said once.
pub(super) fn words(error: &(dyn Error + 'static)) -> String {
    let mut words = String::new();
    for error in causes(error) {
        let said = error.to_string();
        // The SDK's outermost words name a stage of its own alone.
        let stage = matches!(&*said, "dispatch failure" | "service error" | "io error" | "other");
        let repeats = words.contains(&said) || (stage && error.source().is_some());
        if !repeats {
            if !words.is_empty() {
                words.push_str(": ");
            }
            words.push_str(&said);
        }
    }
    cut(&words)
}

/// One line, not too long.
fn cut(said: &str) -> String {
    said.chars().take(WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The SDK takes EKS Pod Identity's token as it stands in its file, and its message does not say which
/// file that is.
fn token_file_hint() -> String {
    const VARIABLE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
    let Some(path) = std::env::var_os(VARIABLE) else { return String::new() };
    match std::fs::read(&path) {
        Ok(token) if token.ends_with(b"\n") => {
            format!(" ({VARIABLE}: {} ends with a newline, which the SDK refuses)", path.display())
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> Right {
        let hint = " on the group".to_owned();
        Right { action: "logs:PutLogEvents", hint, shared: &["logGroupName"], flag: "--mirror.to" }
    }

    #[test]
    fn an_answer_says_whether_to_try_again() {
        let of = |status, code| match answered(&right(), status, code, "so it is") {
            Fault::NotTaken(trouble, _) => trouble.as_str(),
            Fault::Unconfirmed(_) => "unconfirmed",
            Fault::Invalid(_) => "invalid",
        };
        for (status, code, meaning) in [
            (400, "ThrottlingException", "throttled"),
            (429, "", "throttled"),
            (400, "InvalidParameterValue", "invalid"),
            (413, "", "invalid"),
            (400, "AccessDenied", "forbidden"),
            (403, "", "forbidden"),
            (403, "ExpiredToken", "credentials"),
            (500, "InternalServiceError", "server"),
            (503, "ServiceUnavailableException", "server"),
            (503, "", "server"),
            (502, "", "unconfirmed"),
            (504, "", "unconfirmed"),
            (200, "", "unconfirmed"),
            (404, "", "refused"),
            (301, "", "refused"),
        ] {
            assert_eq!(of(status, code), meaning, "{status} {code}");
        }
    }

    #[test]
    fn a_missing_right_is_named() {
        let denied = answered(&right(), 403, "AccessDenied", "no\nway");
        let words = "allow logs:PutLogEvents on the group: no way".to_owned();
        assert_eq!(denied, Fault::NotTaken(Trouble::Forbidden, words));
    }
    #[test]
    fn no_point_is_to_blame_for_what_all_share() {
        let said = "Value at 'logGroupName' failed";
        let words =
            "logs:PutLogEvents was refused: Value at 'logGroupName' failed (from --mirror.to)";
        assert_eq!(
            answered(&right(), 400, "InvalidParameterException", said),
            Fault::NotTaken(Trouble::Refused, words.to_owned())
        );
    }
}
