//! HTTP: one route, which is authenticated, and a health check, which is not.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::Semaphore};

use super::{
    engine::{self, Engine, Source},
    error::ApiError,
    signature::Signed,
    sts,
};
use crate::keys::uuid;

/// The longest body in bytes. A policy has 32 KiB, and each of its characters can need six in JSON.
const MOST_BODY: usize = 256 * 1024;
const MOST_CONNECTIONS: usize = 1024;
/// How long a client may take to send the headers, and then the body.
const PATIENCE: Duration = Duration::from_secs(30);
const TARGET: &str = "TrentService.";
const JSON: &str = "application/x-amz-json-1.1";

type Answer = Response<Full<Bytes>>;

/// Serves connections until `shutdown` completes, and then until the last request is answered.
pub(crate) async fn serve(engine: Arc<Engine>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    server.http2().timer(TokioTimer::new()).keep_alive_interval(PATIENCE).max_concurrent_streams(256);
    let server = Arc::new(server);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accept = async {
            let place = places.clone().acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept => match accepted {
                Some(accepted) => accepted,
                None => break,
            },
        };
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, most likely.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let engine = engine.clone();
        let service = service_fn(move |request| {
            let engine = engine.clone();
            async move { Ok::<_, Infallible>(answer(engine, request, peer).await) }
        });
        let connection = graceful.watch(server.serve_connection(TokioIo::new(stream), service).into_owned());
        tokio::spawn(async move {
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    // A client that neither reads nor closes must not keep the process.
    let _ = tokio::time::timeout(PATIENCE, graceful.shutdown()).await;
}

async fn answer(engine: Arc<Engine>, request: Request<Incoming>, peer: SocketAddr) -> Answer {
    let request_id = uuid().unwrap_or_default();
    let (parts, body) = request.into_parts();
    if parts.method == Method::GET && parts.uri.path() == "/healthz" {
        return respond(200, "text/plain", "ok\n".into(), &request_id);
    }
    if parts.method != Method::POST || parts.uri.path() != "/" {
        let status = if parts.uri.path() == "/" { 405 } else { 404 };
        return respond(status, "text/plain", String::new(), &request_id);
    }
    let body = match tokio::time::timeout(PATIENCE, Limited::new(body, MOST_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return respond(413, "text/plain", String::new(), &request_id),
        Err(_) => return respond(408, "text/plain", String::new(), &request_id),
    };
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let source = Source {
        address: peer.ip().to_canonical().to_string(),
        user_agent: header("user-agent").chars().take(256).collect(),
        is_secure: false,
        request_id: request_id.clone(),
    };
    let work = move || {
        // In HTTP/2 the host is no header.
        let host = parts.uri.authority().map(|authority| ("host", authority.as_str()));
        let headers = parts.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let mut headers: Vec<_> = headers.collect();
        headers.extend(host.filter(|_| !parts.headers.contains_key("host")));
        let query = parts.uri.query().unwrap_or_default();
        perform(&engine, &Signed { method: "POST", query, headers: &headers, body: &body }, &source)
    };
    let Ok(performed) = tokio::task::spawn_blocking(work).await else {
        let error = ApiError::internal("the endpoint failed; see its standard error");
        return respond(500, JSON, json_error(&error), &request_id);
    };
    match performed {
        Performed::Sts(Ok(body)) => respond(200, "text/xml", body, &request_id),
        Performed::Sts(Err(error)) => {
            respond(error.status, "text/xml", sts::error_body(&error, &request_id), &request_id)
        }
        Performed::Kms(engine::Answer { mut result, written }) => {
            if let Some(written) = written
                && written.await != Ok(true)
            {
                result = Err(ApiError::internal("the audit log cannot be written"));
            }
            match result {
                Ok(Value::Null) => respond(200, JSON, String::new(), &request_id),
                Ok(answer) => respond(200, JSON, answer.to_string(), &request_id),
                Err(error) => respond(error.status, JSON, json_error(&error), &request_id),
            }
        }
    }
}

enum Performed {
    Kms(engine::Answer),
    Sts(Result<String, ApiError>),
}

/// Authenticates a request and performs it.
fn perform(engine: &Engine, signed: &Signed<'_>, source: &Source) -> Performed {
    let target = signed.headers.iter().find(|(name, _)| *name == "x-amz-target").map(|(_, value)| *value);
    let refused = |error| match target {
        Some(_) => Performed::Kms(engine::Answer { result: Err(error), written: None }),
        None => Performed::Sts(Err(ApiError { status: 403, ..error })),
    };
    let service = if target.is_some() { "kms" } else { "sts" };
    let authenticate = || {
        let claim = signed.claim()?;
        let (caller, secret) = sts::authenticate(engine, claim.access_key, claim.session_token)?;
        signed.verify(&claim, secret.as_bytes(), engine.now() / 1000)?;
        if claim.service != service {
            let why = format!("Credential should be scoped to correct service: '{service}'. ");
            return Err(ApiError::new("InvalidSignatureException", why));
        }
        let is_served = engine.settings.regions.iter().any(|region| region == claim.region);
        if !is_served {
            let why = "Credential should be scoped to a valid region. ";
            return Err(ApiError::new("InvalidSignatureException", why));
        }
        Ok((caller, claim.region.to_owned()))
    };
    let (caller, region) = match authenticate() {
        Ok(authenticated) => authenticated,
        Err(error) => return refused(error),
    };
    let Some(target) = target else {
        return Performed::Sts(sts::handle(engine, &caller, signed.body, source));
    };
    let Some(operation) = target.strip_prefix(TARGET) else {
        return refused(ApiError::bare("UnknownOperationException"));
    };
    let body = if signed.body.is_empty() { b"{}" } else { signed.body };
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
        return refused(ApiError::bare("SerializationException"));
    };
    let request = engine::Request { caller: &caller, region: &region, operation, members: &members, source };
    Performed::Kms(engine.handle(&request))
}

fn json_error(error: &ApiError) -> String {
    let mut body = serde_json::json!({ "__type": error.code });
    if let Some(message) = &error.message {
        body["message"] = message.as_str().into();
    }
    body.to_string()
}

fn respond(status: u16, content_type: &'static str, body: String, request_id: &str) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    if let Ok(id) = request_id.parse() {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}
