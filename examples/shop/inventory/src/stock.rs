//! How much of each item is left, never sold twice: every change is a compare-and-swap.

use bindings::wasi::keyvalue::atomics::{Cas, CasError, swap};
use bindings::wasi::keyvalue::store::{self, Bucket};

mod bindings {
    wit_bindgen::generate!({ path: "../../../wit/wasi-keyvalue-draft2", world: "imports", generate_all });
}

/// What the shop starts with, until an order changes it.
const AT_FIRST: [(&str, i64); 3] = [("apple", 100), ("banana", 50), ("cherry", 10)];

pub enum Error {
    Unknown(String),
    Short { sku: String, stock: i64 },
    Store(String),
}

/// How much of an item is left.
pub fn of(sku: &str) -> Result<i64, Error> {
    let value = bucket()?.get(sku).map_err(store_error)?;
    amount(sku, value)
}

/// Takes `quantity` of an item, and says what is left then.
pub fn take(sku: &str, quantity: i64) -> Result<i64, Error> {
    let bucket = bucket()?;
    let mut cas = Cas::new(&bucket, sku).map_err(store_error)?;
    loop {
        let stock = amount(sku, cas.current().map_err(store_error)?)?;
        if stock < quantity {
            return Err(Error::Short { sku: sku.to_owned(), stock });
        }
        let left = stock - quantity;
        cas = match swap(cas, left.to_string().as_bytes()) {
            Ok(()) => return Ok(left),
            Err(CasError::CasFailed(newer)) => newer,
            Err(CasError::StoreError(error)) => return Err(store_error(error)),
        };
    }
}

fn bucket() -> Result<Bucket, Error> {
    store::open("stock").map_err(store_error)
}

fn amount(sku: &str, value: Option<Vec<u8>>) -> Result<i64, Error> {
    match value {
        Some(bytes) => std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::Store(format!("the stock of {sku} is not a number"))),
        None => AT_FIRST.iter().find(|(known, _)| *known == sku).map(|(_, stock)| *stock).ok_or_else(|| Error::Unknown(sku.to_owned())),
    }
}

fn store_error(error: store::Error) -> Error {
    Error::Store(format!("the stock cannot be reached: {error:?}"))
}
