//! The endpoint as applications use it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::net::TcpListener;

use super::{
    engine::{Clock, Engine, Settings},
    http,
    identity::Identities,
};
use crate::{LocalKmsError, Root};

/// The directory of the endpoint's files in that of the store.
const SUBDIRECTORY: &str = "endpoint";
/// How often the identities file is looked at.
const WATCH: Duration = Duration::from_millis(500);

/// An administrator of an account, with an access key.
#[derive(Clone)]
struct Administrator {
    account: String,
    access_key: String,
    secret: String,
}

/// A builder that opens or creates the store of an [`Endpoint`].
#[must_use]
pub struct EndpointBuilder {
    directory: PathBuf,
    root: Root,
    regions: Vec<String>,
    clock: Clock,
    grant_delay: Duration,
    sources: Sources,
}

/// Where identities come from.
#[derive(Clone, Default)]
struct Sources {
    administrators: Vec<Administrator>,
    file: Option<PathBuf>,
}

impl Sources {
    /// Reads all identities.
    ///
    /// # Errors
    /// What is wrong, and in which file.
    fn read(&self) -> Result<Identities, LocalKmsError> {
        let mut identities = Identities::default();
        for Administrator { account, access_key, secret } in &self.administrators {
            identities.add_administrator(account, access_key, secret).map_err(LocalKmsError::InvalidRequest)?;
        }
        if let Some(path) = &self.file {
            let text = fs::read_to_string(path).map_err(LocalKmsError::io("reading", path))?;
            let added = identities.add_file(path, &text);
            added.map_err(|what| LocalKmsError::InvalidRequest(format!("{}: {what}", path.display())))?;
        }
        if identities.is_empty() {
            return Err(LocalKmsError::InvalidRequest("an endpoint needs an administrator or identities".into()));
        }
        Ok(identities)
    }

    /// Returns what changes when the file is written: its time and its length.
    fn version(&self) -> Option<(SystemTime, u64)> {
        let metadata = fs::metadata(self.file.as_ref()?).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }
}

impl EndpointBuilder {
    /// Sets where the root key comes from; by default a key file beside the database.
    pub fn root(mut self, root: Root) -> Self {
        self.root = root;
        self
    }

    /// Sets the Regions that are served; by default `us-east-1`.
    pub fn regions<R: Into<String>>(mut self, regions: impl IntoIterator<Item = R>) -> Self {
        self.regions = regions.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the clock for states, rotations, signatures and the log; by default the system clock.
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Adds the user `admin` of an account, whose policy allows everything that key policies
    /// delegate to the account.
    pub fn administrator(
        mut self,
        account: impl Into<String>,
        access_key: impl Into<String>,
        secret: impl Into<String>,
    ) -> Self {
        let (account, access_key, secret) = (account.into(), access_key.into(), secret.into());
        self.sources.administrators.push(Administrator { account, access_key, secret });
        self
    }

    /// Sets a file of users and roles in JSON or TOML. While the endpoint serves, it is read again
    /// when it changes; a file with an error leaves the identities as they are.
    pub fn identities(mut self, file: impl Into<PathBuf>) -> Self {
        self.sources.file = Some(file.into());
        self
    }

    /// Sets how long a new grant only counts for requests with its token, as in AWS for up to five
    /// minutes; by default it counts at once.
    pub fn grant_delay(mut self, delay: Duration) -> Self {
        self.grant_delay = delay;
        self
    }

    /// Opens the store, or creates it, and verifies it and its audit log.
    ///
    /// # Errors
    /// [`LocalKmsError::Busy`] if another process has it open; [`LocalKmsError::InvalidRequest`] for
    /// invalid or missing identities; [`LocalKmsError::WrongRoot`], [`LocalKmsError::Damaged`],
    /// [`LocalKmsError::RolledBack`], [`LocalKmsError::Io`].
    pub async fn open(self) -> Result<Endpoint, LocalKmsError> {
        let Self { directory, root, regions, clock, grant_delay, sources } = self;
        let identities = sources.read()?;
        let grant_delay = u64::try_from(grant_delay.as_millis()).unwrap_or(u64::MAX);
        let settings = Settings { regions, clock, grant_delay };
        let engine = Engine::open(directory.join(SUBDIRECTORY), &root, settings, identities).await?;
        Ok(Endpoint { engine: Arc::new(engine), sources })
    }
}

/// A key management service that AWS SDKs take for AWS KMS.
pub struct Endpoint {
    engine: Arc<Engine>,
    sources: Sources,
}

impl Endpoint {
    /// Returns a builder for an endpoint whose store is in this directory.
    pub fn builder(directory: impl AsRef<Path>) -> EndpointBuilder {
        EndpointBuilder {
            directory: directory.as_ref().to_owned(),
            root: Root::default(),
            regions: vec!["us-east-1".into()],
            clock: Arc::new(SystemTime::now),
            grant_delay: Duration::ZERO,
            sources: Sources::default(),
        }
    }

    /// Serves connections on a listener until `shutdown` completes, and then until the last request
    /// is answered. Must be called in a Tokio runtime with time and I/O.
    ///
    /// # Errors
    /// If the listener is not on a loopback address: without TLS anyone on the way could read
    /// plaintexts.
    pub async fn serve(self, listener: std::net::TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        if !listener.local_addr()?.ip().is_loopback() {
            let why = "without TLS an endpoint only listens on loopback addresses";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let Self { engine, sources } = self;
        let watched = engine.clone();
        let watch = async {
            let mut version = sources.version();
            loop {
                tokio::time::sleep(WATCH).await;
                let new = sources.version();
                if new == version {
                    continue;
                }
                version = new;
                match sources.read() {
                    Ok(identities) => watched.replace_identities(identities),
                    Err(error) => eprintln!("sealwax: warning: the identities are unchanged: {error}"),
                }
            }
        };
        tokio::select! {
            () = http::serve(engine, listener, shutdown) => Ok(()),
            () = watch => Ok(()),
        }
    }
}
