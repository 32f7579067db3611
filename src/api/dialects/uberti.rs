//! draft-uberti-behave-turn-rest: `GET|POST /turn?service=turn&username=…&key=…`, as Janus, Nextcloud and others ask.

use axum::{
    Form, RequestExt as _,
    body::{Body, Bytes},
    extract::{FromRequestParts as _, Query as Decoded, Request, State},
    http::{HeaderMap, Uri, header, request::Parts},
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    api::{
        body::{self, Answer},
        caller::Caller,
        problem::{
            AMBIGUOUS_CREDENTIALS, FORM_MALFORMED, KEY_IN_QUERY, MEDIA_TYPE_UNSUPPORTED, NO_CAPACITY,
            NO_SECRET, NO_URI, PARAMETER_INVALID, Problem, ProblemKind, SERVICE_UNKNOWN, TTL_OUT_OF_RANGE,
            USER_INVALID,
        },
        service::{Dialect, Service},
        v1::{
            fields::Faults,
            issue::{Form as NameForm, Order, Routes},
        },
    },
    cluster::Scope,
};

/// Where it is asked for.
pub(crate) const PATH: &str = "/turn";
/// Where some software expects it.
pub(crate) const ALIAS: &str = "/turn/credentials";

/// What `/turn` refuses by itself.
pub(crate) const UBERTI_PROBLEMS: &[ProblemKind] = &[
    SERVICE_UNKNOWN,
    USER_INVALID,
    TTL_OUT_OF_RANGE,
    PARAMETER_INVALID,
    AMBIGUOUS_CREDENTIALS,
    KEY_IN_QUERY,
    NO_URI,
    NO_CAPACITY,
    NO_SECRET,
];
/// What `POST /turn` refuses beside that.
pub(crate) const UBERTI_FORM_PROBLEMS: &[ProblemKind] = &[FORM_MALFORMED, MEDIA_TYPE_UNSUPPORTED];

/// What is asked. Anything else is ignored, as software of this kind sends more or less of it. With
/// `api.allow_query_key` also the API key, as `key` or `api`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes what is read as a list, where anything may stand beside it")]
pub(crate) struct UbertiQuery {
    /// The service that is wanted; there is only `turn`.
    #[param(value_type = String, required = false, pattern = "^turn$", example = "turn")]
    service: Option<String>,
    /// Whose the credentials are. Without it the username is a bare timestamp.
    #[param(value_type = String, required = false, min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    username: Option<String>,
    /// How long they are valid, in seconds.
    #[param(value_type = i64, required = false, minimum = 60, maximum = 86400)]
    ttl: Option<i64>,
}

/// What is asked. Anything else is ignored, as software of this kind sends more or less of it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what is read as a list, where anything may stand beside it")]
pub(crate) struct UbertiForm {
    /// The service that is wanted; there is only `turn`.
    #[schema(value_type = String, required = false, pattern = "^turn$", example = "turn")]
    service: Option<String>,
    /// Whose the credentials are. Without it the username is a bare timestamp.
    #[schema(value_type = String, required = false, min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    username: Option<String>,
    /// How long they are valid, in seconds.
    #[schema(value_type = i64, required = false, minimum = 60, maximum = 86400)]
    ttl: Option<i64>,
    /// The API key, if it is in no header. Also taken by the name `api`.
    #[schema(value_type = String, required = false)]
    key: Option<String>,
}

/// Credentials as the draft has them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UbertiAnswer {
    /// `<expires>:<user>`; longer for a user who was revoked before.
    username: String,
    /// base64(HMAC-SHA1(secret, username)).
    password: String,
    /// How long they are valid, in seconds.
    ttl: u64,
    /// `turn:` and `turns:` URIs, without literal addresses of IPv6, which some clients cannot read.
    uris: Vec<String>,
}

/// Makes credentials in the form of draft-uberti-behave-turn-rest, asked for by a query.
#[utoipa::path(
    get,
    path = "/turn",
    tag = "dialects",
    params(UbertiQuery),
    responses((status = 200, description = "The credentials.", body = UbertiAnswer))
)]
pub(crate) async fn turn_by_query(
    State(service): State<Service>,
    request: Request,
) -> Result<Answer<UbertiAnswer>, Problem> {
    let (mut parts, _) = request.into_parts();
    let asked = Asked { query: of_query(&parts.uri)?, form: Vec::new() };
    answer(&service, &mut parts, &asked).await
}

/// Makes credentials in the form of draft-uberti-behave-turn-rest, asked for by a form, a query or both.
#[utoipa::path(
    post,
    path = "/turn",
    tag = "dialects",
    params(UbertiQuery),
    request_body(content = UbertiForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The credentials.", body = UbertiAnswer))
)]
pub(crate) async fn turn_by_form(
    State(service): State<Service>,
    request: Request,
) -> Result<Answer<UbertiAnswer>, Problem> {
    let (mut parts, content) = request.into_parts();
    let form = of_form(&parts.headers, body::read(content).await?).await?;
    let asked = Asked { query: of_query(&parts.uri)?, form };
    answer(&service, &mut parts, &asked).await
}

async fn answer(
    service: &Service,
    parts: &mut Parts,
    asked: &Asked,
) -> Result<Answer<UbertiAnswer>, Problem> {
    let caller = authenticate(service, parts, asked).await?;
    caller.require(Scope::Issue)?;
    let settings = service.settings.load();
    if asked.given("service")?.any(|service| service != "turn") {
        return Err(SERVICE_UNKNOWN.into());
    }
    let mut faults = Faults::default();
    let user = asked.given("username")?.next().unwrap_or_default();
    asked.given("username")?.for_each(|user| faults.user("/username", user));
    let not_a_number = |_| PARAMETER_INVALID.problem().at("/ttl", "must be a number of seconds");
    let ttls: Vec<i64> =
        asked.given("ttl")?.map(str::parse).collect::<Result<_, _>>().map_err(not_a_number)?;
    let ttl = faults.ttl("/ttl", ttls.first().copied(), &settings.config.credentials);
    for beside in ttls.iter().skip(1) {
        faults.ttl("/ttl", Some(*beside), &settings.config.credentials);
    }
    faults.result()?;
    let order = Order {
        form: NameForm::Plain,
        routes: Routes { ipv6: false, stun: false, ..Routes::ALL },
        ..Order::new(Dialect::Uberti, user, ttl)
    };
    if !user.is_empty() {
        service.access.count_user(user).await?;
    }
    let issued = service.issue(&order, &settings)?;
    Ok(Answer(UbertiAnswer {
        username: issued.credential.username,
        password: issued.credential.password.as_str().to_owned(),
        ttl: ttl.as_secs(),
        uris: issued.turn,
    }))
}

/// Whether a path is one of this form.
pub(crate) fn is_asked(path: &str) -> bool {
    path == PATH || path == ALIAS
}

/// Who sent such a request: its key may stand in the form.
pub(crate) async fn caller(service: &Service, parts: &mut Parts, content: &Bytes) -> Result<Caller, Problem> {
    let form = of_form(&parts.headers, content.clone()).await?;
    authenticate(service, parts, &Asked { query: of_query(&parts.uri)?, form }).await
}

async fn authenticate(service: &Service, parts: &mut Parts, asked: &Asked) -> Result<Caller, Problem> {
    if let Some(caller) = parts.extensions.remove::<Caller>() {
        return Ok(caller);
    }
    let may_be_in_query = service.settings.load().config.api.allow_query_key;
    match asked.key(may_be_in_query)? {
        Some(key) => service.access.by_key(parts, key).await,
        None => Caller::from_request_parts(parts, service).await,
    }
}

type Pairs = Vec<(String, String)>;

/// What was sent, in the order in which it counts.
struct Asked {
    form: Pairs,
    query: Pairs,
}

impl Asked {
    /// What is given by this name, once in each of them at most: all of it must be right, and the first counts.
    fn given(&self, name: &str) -> Result<impl Iterator<Item = &str>, Problem> {
        let is_it = |(known, _): &&(String, String)| known == name;
        if [&self.form, &self.query].iter().any(|pairs| pairs.iter().filter(is_it).count() > 1) {
            return Err(PARAMETER_INVALID.problem().at(format!("/{name}"), "is there twice"));
        }
        Ok([find(&self.form, name), find(&self.query, name)].into_iter().flatten())
    }

    fn get(&self, name: &str) -> Option<&str> {
        find(&self.form, name).or_else(|| find(&self.query, name))
    }

    /// The API key, by either of its names.
    fn key(&self, may_be_in_query: bool) -> Result<Option<&str>, Problem> {
        let named = |pairs: &'_ Pairs| ["key", "api"].iter().any(|name| find(pairs, name).is_some());
        if named(&self.query) && !may_be_in_query {
            return Err(KEY_IN_QUERY.with("Send it in a header or a form, or set api.allow_query_key."));
        }
        match (self.get("key"), self.get("api")) {
            (Some(key), Some(api)) if key != api => {
                Err(AMBIGUOUS_CREDENTIALS.with("`key` and `api` differ."))
            }
            (key, api) => Ok(key.or(api)),
        }
    }
}

fn find<'p>(pairs: &'p Pairs, name: &str) -> Option<&'p str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn of_query(uri: &Uri) -> Result<Pairs, Problem> {
    match Decoded::try_from_uri(uri) {
        Ok(Decoded(pairs)) => Ok(pairs),
        Err(_) => Err(PARAMETER_INVALID.with("The query cannot be read.")),
    }
}

async fn of_form(headers: &HeaderMap, content: Bytes) -> Result<Pairs, Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content.is_empty() {
        return Ok(Vec::new());
    }
    let essence = given.and_then(|given| given.split(';').next()).unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(MEDIA_TYPE_UNSUPPORTED.with("Send `Content-Type: application/x-www-form-urlencoded`."));
    }
    let mut request = Request::post("/").body(Body::from(content)).map_err(|_| FORM_MALFORMED)?;
    request
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-www-form-urlencoded"));
    let form: Result<Form<Pairs>, _> = request.extract().await;
    form.map(|Form(pairs)| pairs).map_err(|_| FORM_MALFORMED.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Pairs {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_key_goes_by_either_name_and_into_a_query_only_where_allowed() {
        let form = Asked { form: pairs(&[("api", "a"), ("key", "a")]), query: Vec::new() };
        assert_eq!(form.key(false).unwrap(), Some("a"));
        let query = Asked { form: Vec::new(), query: pairs(&[("key", "a")]) };
        assert_eq!(query.key(true).unwrap(), Some("a"));
        assert_eq!(query.key(false).unwrap_err().kind().code, "key_in_query");
        let two = Asked { form: pairs(&[("api", "a"), ("key", "b")]), query: Vec::new() };
        assert_eq!(two.key(true).unwrap_err().kind().code, "ambiguous_credentials");
        assert_eq!(Asked { form: Vec::new(), query: Vec::new() }.key(true).unwrap(), None);
    }
}
