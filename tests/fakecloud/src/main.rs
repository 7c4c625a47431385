//! fakecloud's key management service on loopback, over plain HTTP. Prints its port, and exits when
//! its standard input ends.

use std::{collections::HashMap, io::Read, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header::AUTHORIZATION},
    response::Response,
};
use fakecloud_core::{
    multi_account::MultiAccountState,
    service::{AwsRequest, AwsResponse, AwsService, AwsServiceError},
};
use fakecloud_kms::{KmsService, KmsState};
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";
/// Longer than any request to the service.
const MAX_BODY: usize = 1 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    // The process that started this one holds the other end of the pipe; once that is closed, the
    // server is no longer needed.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let state = Arc::new(RwLock::new(MultiAccountState::<KmsState>::new(ACCOUNT, REGION, "")));
    let service = Arc::new(KmsService::new(state));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?.port());
    axum::serve(listener, Router::new().fallback(answer).with_state(service)).await
}

async fn answer(State(service): State<Arc<KmsService>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return respond(StatusCode::PAYLOAD_TOO_LARGE, Vec::new());
    };
    let target = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let action = target.trim_start_matches("TrentService.").into();
    let request = build(action, region(&head.headers), head.headers, body);
    match handle(&service, request).await {
        Ok(answer) => respond(answer.status, answer.body.expect_bytes().to_vec()),
        Err(error) => refuse(&error),
    }
}

/// Handles a request as the service does, with one difference: fakecloud treats a replica of a
/// multi-Region key as another key when it decrypts. In AWS they have the same key material, and
/// the requested one answers.
async fn handle(service: &KmsService, request: AwsRequest) -> Result<AwsResponse, AwsServiceError> {
    let mut body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let asked = body["KeyId"].as_str().unwrap_or_default().to_owned();
    let Some((_, id)) = asked.split_once(":key/mrk-").filter(|_| request.action == "Decrypt") else {
        return service.handle(request).await;
    };
    // The key must exist, in the region of the request.
    let describe = service.handle(with(&request, "DescribeKey", json!({ "KeyId": asked }).to_string().into())).await?;
    let found: Value = serde_json::from_slice(describe.body.expect_bytes()).unwrap_or_default();
    if asked.split(':').nth(3) != Some(&*request.region) || found["KeyMetadata"]["Arn"] != asked {
        return Err(error("NotFoundException"));
    }
    body.as_object_mut().and_then(|body| body.remove("KeyId"));
    let answer = service.handle(with(&request, "Decrypt", body.to_string().into())).await?;
    let mut answer: Value = serde_json::from_slice(answer.body.expect_bytes()).unwrap_or_default();
    if answer["KeyId"].as_str().is_none_or(|source| !source.ends_with(&format!(":key/mrk-{id}"))) {
        return Err(error("IncorrectKeyException"));
    }
    answer["KeyId"] = asked.into();
    Ok(AwsResponse::json(StatusCode::OK, answer.to_string()))
}

fn error(code: &str) -> AwsServiceError {
    AwsServiceError::aws_error(StatusCode::BAD_REQUEST, code, "")
}

/// Returns the same request for another action.
fn with(request: &AwsRequest, action: &str, body: Bytes) -> AwsRequest {
    build(action.into(), request.region.clone(), request.headers.clone(), body)
}

fn build(action: String, region: String, headers: HeaderMap, body: Bytes) -> AwsRequest {
    AwsRequest {
        service: "kms".into(),
        action,
        region,
        account_id: ACCOUNT.into(),
        request_id: "fakecloud".into(),
        headers,
        query_params: HashMap::new(),
        body,
        body_stream: Mutex::new(None),
        path_segments: Vec::new(),
        raw_path: "/".into(),
        raw_query: String::new(),
        method: Method::POST,
        is_query_protocol: false,
        access_key_id: None,
        principal: None,
    }
}

/// Returns the region that the request was signed for:
/// `Credential=KEY/DATE/REGION/kms/aws4_request`.
fn region(headers: &HeaderMap) -> String {
    let scope = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let scope = scope.and_then(|value| value.split_once("Credential=")).map_or("", |(_, scope)| scope);
    scope.split('/').nth(2).unwrap_or(REGION).into()
}

fn refuse(error: &AwsServiceError) -> Response {
    let (code, message) = match error {
        AwsServiceError::AwsError { code, message, .. } => (code.as_str(), message.clone()),
        other => ("UnknownOperationException", other.to_string()),
    };
    let body = json!({ "__type": code, "message": message });
    respond(error.status(), body.to_string().into_bytes())
}

fn respond(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}
