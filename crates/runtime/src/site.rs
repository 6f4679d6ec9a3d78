//! A folder of files that the gateway serves: the files of one archive, and nothing else.

mod slice;

use std::collections::HashMap;
use std::fs::File;
use std::future::{Ready, ready};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use artifact::{Digest, files};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use sha2::Sha256;
use tower::ServiceExt;
use tower_http::services::fs::{Backend, Metadata, ServeDir};

use crate::body::Body;
use slice::{Opening, Slice};

/// The files of one archive. Shared by all pods that serve them.
pub struct Site {
    archive: PathBuf,
    /// By their path; a folder is there too.
    files: HashMap<PathBuf, Known>,
}

/// Why an archive cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("reading {}", path.display())]
    Io {
        /// The archive.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what its digest says.
    #[error("{} is broken", .0.display())]
    Broken(PathBuf),
    /// It is no archive of plain files.
    #[error(transparent)]
    Files(#[from] files::Error),
}

/// What is known of a file or a folder.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    start: u64,
    size: u64,
    is_folder: bool,
    stamp: Duration,
}

impl Site {
    /// Reads what is in an archive, once; it must have this digest. Takes as long as reading it takes.
    ///
    /// # Errors
    /// When it cannot be read, is another one, or holds anything but plain files.
    pub fn open(archive: &Path, digest: &Digest) -> Result<Site, Error> {
        let failed = |source| Error::Io { path: archive.to_owned(), source };
        let mut file = File::open(archive).map_err(failed)?;
        let mut whole = Sha256::default();
        io::copy(&mut file, &mut whole).map_err(failed)?;
        if hex::encode(sha2::Digest::finalize(whole)) != digest.hex() {
            return Err(Error::Broken(archive.to_owned()));
        }
        file.rewind().map_err(failed)?;
        let mut known = HashMap::from([(PathBuf::new(), Known::folder())]);
        for entry in files::entries(&file)? {
            let path = PathBuf::from(&entry.path);
            for folder in path.ancestors().skip(1) {
                known.insert(folder.to_owned(), Known::folder());
            }
            let stamp = stamp(&file, entry.start, entry.size).map_err(failed)?;
            known.insert(path, Known { start: entry.start, size: entry.size, is_folder: false, stamp });
        }
        Ok(Site { archive: archive.to_owned(), files: known })
    }

    /// Answers a request.
    pub async fn serve(self: &Arc<Self>, request: Request<Body>) -> Response<Body> {
        let mut ask = request.map(|_| Empty::<bytes::Bytes>::new());
        refine(ask.headers_mut());
        let dir = ServeDir::with_backend("", Within(self.clone())).ignore_multi_range_requests(true);
        let Ok(response) = dir.oneshot(ask).await;
        let mut response = response.map(|body| body.map_err(Into::into).boxed_unsync());
        finish(response.headers_mut());
        response
    }

    fn find(&self, path: &Path) -> io::Result<Known> {
        // `ServeDir` begins each path with `./`.
        let path = path.strip_prefix(".").unwrap_or(path);
        self.files.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// When a file was changed is not known, so conditions that depend on it are left out.
fn refine(headers: &mut HeaderMap) {
    headers.remove(header::IF_MODIFIED_SINCE);
    headers.remove(header::IF_UNMODIFIED_SINCE);
    // The whole file is always right.
    if headers.remove(header::IF_RANGE).is_some() {
        headers.remove(header::RANGE);
    }
}

fn finish(headers: &mut HeaderMap) {
    headers.remove(header::LAST_MODIFIED);
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return };
    // Browsers would guess, mostly wrongly.
    if kind.as_bytes().starts_with(b"text/") && !kind.as_bytes().contains(&b';') {
        let with = [kind.as_bytes(), b"; charset=utf-8"].concat();
        if let Ok(with) = HeaderValue::from_bytes(&with) {
            headers.insert(header::CONTENT_TYPE, with);
        }
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// A time that stands for the content of a file: `ServeDir` makes its ETags of times and sizes, and an archive has no times.
fn stamp(file: &File, start: u64, size: u64) -> io::Result<Duration> {
    let (mut file, mut content) = (file, Sha256::default());
    file.seek(SeekFrom::Start(start))?;
    io::copy(&mut file.take(size), &mut content)?;
    let digest: [u8; 32] = sha2::Digest::finalize(content).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    Ok(Duration::new(u32::from_le_bytes([a, b, c, d]).into(), u32::from_le_bytes([e, f, g, h]) % 1_000_000_000))
}

impl Known {
    fn folder() -> Known {
        Known { start: 0, size: 0, is_folder: true, stamp: Duration::ZERO }
    }
}

impl Metadata for Known {
    fn is_dir(&self) -> bool {
        self.is_folder
    }

    fn modified(&self) -> io::Result<SystemTime> {
        Ok(SystemTime::UNIX_EPOCH + self.stamp)
    }

    fn len(&self) -> u64 {
        self.size
    }
}

/// Finds nothing but what the archive has.
#[derive(Clone)]
struct Within(Arc<Site>);

impl Backend for Within {
    type File = Slice;
    type Metadata = Known;
    type OpenFuture = Opening;
    type MetadataFuture = Ready<io::Result<Known>>;

    fn open(&self, path: PathBuf) -> Opening {
        let (found, archive) = (self.0.find(&path), self.0.archive.clone());
        Box::pin(async move { Slice::open(&archive, found?).await })
    }

    fn metadata(&self, path: PathBuf) -> Ready<io::Result<Known>> {
        ready(self.0.find(&path))
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;
    use crate::body;

    fn site(files: &[(&str, &str)]) -> (tempfile::TempDir, Arc<Site>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join("dist").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let archive = files::archive(&folder.path().join("dist")).unwrap();
        let path = folder.path().join("archive");
        std::fs::write(&path, &archive).unwrap();
        let site = Site::open(&path, &Digest::of(&archive)).unwrap();
        (folder, Arc::new(site))
    }

    async fn ask(site: &Arc<Site>, method: Method, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = site.serve(request.body(body::empty()).unwrap()).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, String::from_utf8_lossy(&bytes).into_owned())
    }

    const FILES: &[(&str, &str)] =
        &[("index.html", "<p>home"), ("app.js", "0123456789"), ("a b/ü.txt", "umlaut"), ("docs/index.html", "<p>docs"), ("blob", "?")];

    #[tokio::test]
    async fn files_have_types_lengths_and_an_index() {
        let (_folder, site) = site(FILES);
        for (path, kind, content) in [
            ("/", "text/html; charset=utf-8", "<p>home"),
            ("/index.html", "text/html; charset=utf-8", "<p>home"),
            ("/docs/", "text/html; charset=utf-8", "<p>docs"),
            ("/app.js?v=2", "text/javascript; charset=utf-8", "0123456789"),
            ("/a%20b/%C3%BC.txt", "text/plain; charset=utf-8", "umlaut"),
            ("/blob", "application/octet-stream", "?"),
        ] {
            let (status, headers, body) = ask(&site, Method::GET, path, &[]).await;
            assert_eq!((status, body.as_str()), (StatusCode::OK, content), "{path}");
            assert_eq!(headers[header::CONTENT_TYPE], kind, "{path}");
            assert_eq!(headers[header::CONTENT_LENGTH], content.len().to_string().as_str(), "{path}");
            assert!(!headers.contains_key(header::LAST_MODIFIED));
            let (status, head, body) = ask(&site, Method::HEAD, path, &[]).await;
            assert_eq!((status, body.as_str(), &head[header::CONTENT_LENGTH]), (StatusCode::OK, "", &headers[header::CONTENT_LENGTH]));
        }
        let (status, headers, _) = ask(&site, Method::GET, "/docs", &[]).await;
        assert_eq!((status, headers[header::LOCATION].to_str().unwrap()), (StatusCode::TEMPORARY_REDIRECT, "/docs/"));
        assert_eq!(ask(&site, Method::GET, "/none", &[]).await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask(&site, Method::GET, "/a%20b/", &[]).await.0, StatusCode::NOT_FOUND, "no list of a folder");
        assert_eq!(ask(&site, Method::POST, "/", &[]).await.0, StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn an_etag_stands_for_the_content() {
        let (_folder, one) = site(FILES);
        let (_other, two) = site(&[("index.html", "<p>hone"), ("app.js", "0123456789")]);
        let etag = async |site: &Arc<Site>, path: &str| {
            let (_, headers, _) = ask(site, Method::GET, path, &[]).await;
            headers[header::ETAG].to_str().unwrap().to_owned()
        };
        assert_eq!(etag(&one, "/app.js").await, etag(&two, "/app.js").await, "on every node the same");
        let tag = etag(&one, "/").await;
        assert_ne!(tag, etag(&two, "/").await, "as long, but another");
        let unchanged = ask(&one, Method::GET, "/", &[("if-none-match", &tag)]).await;
        assert_eq!((unchanged.0, unchanged.2.as_str()), (StatusCode::NOT_MODIFIED, ""));
        assert_eq!(unchanged.1[header::ETAG].to_str().unwrap(), tag);
        assert_eq!(ask(&two, Method::GET, "/", &[("if-none-match", &tag)]).await.0, StatusCode::OK);
        assert_eq!(ask(&one, Method::GET, "/", &[("if-match", "\"x\"")]).await.0, StatusCode::PRECONDITION_FAILED);
        assert_eq!(ask(&one, Method::GET, "/", &[("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")]).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn parts_are_served_as_asked() {
        let (_folder, site) = site(FILES);
        for (range, content, said) in
            [("bytes=2-4", "234", "bytes 2-4/10"), ("bytes=7-", "789", "bytes 7-9/10"), ("bytes=-1", "9", "bytes 9-9/10")]
        {
            let (status, headers, body) = ask(&site, Method::GET, "/app.js", &[("range", range)]).await;
            assert_eq!((status, body.as_str()), (StatusCode::PARTIAL_CONTENT, content), "{range}");
            assert_eq!(headers[header::CONTENT_RANGE], said);
        }
        let (status, headers, _) = ask(&site, Method::GET, "/app.js", &[("range", "bytes=10-")]).await;
        assert_eq!((status, headers[header::CONTENT_RANGE].to_str().unwrap()), (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */10"));
        let whole = [("range", "bytes=2-4"), ("if-range", "\"another\"")];
        assert_eq!(ask(&site, Method::GET, "/app.js", &whole).await.2, "0123456789");
    }

    #[tokio::test]
    async fn nothing_else_is_served() {
        let (folder, site) = site(FILES);
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        for path in [
            "/../secret",
            "/docs/../../secret",
            "/%2e%2e/secret",
            "/%2e%2e%2fsecret",
            "/..%5csecret",
            "/docs/..%2f..%2fsecret",
            "//etc/passwd",
            "/%2fetc%2fpasswd",
            "/./secret",
            "/secret",
            "/archive",
            "/app.js%00",
            "/%ff",
        ] {
            let (status, _, body) = ask(&site, Method::GET, path, &[]).await;
            assert!(status.is_client_error(), "{path}: {status} {body}");
        }
    }

    #[tokio::test]
    async fn an_archive_that_is_not_what_it_should_be_is_not_opened() {
        let (folder, _) = site(FILES);
        let path = folder.path().join("archive");
        let mut bytes = std::fs::read(&path).unwrap();
        let digest = Digest::of(&bytes);
        bytes[600] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(Site::open(&path, &digest), Err(Error::Broken(_))));
        assert!(matches!(Site::open(&folder.path().join("none"), &digest), Err(Error::Io { .. })));
        std::fs::write(&path, b"no archive").unwrap();
        assert!(matches!(Site::open(&path, &Digest::of(b"no archive")), Err(Error::Files(_))));
    }
}
