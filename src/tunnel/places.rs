//! How many connections one key may have: one that serves, those that it has replaced, and few that are just coming.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metrics::{Limit, metrics};
use crate::wire::SpkiPin;

/// A desktop that comes and goes leaves some behind that have not noticed yet.
const PLACES: u32 = 8;

/// Who has how many.
#[derive(Debug, Default)]
pub struct Places(Mutex<HashMap<SpkiPin, u32>>);

/// One connection's, until it is dropped.
#[derive(Debug)]
pub struct Place {
    of: Arc<Places>,
    key: SpkiPin,
}

impl Places {
    /// One more for `key`, if it may have it.
    pub fn take(self: &Arc<Self>, key: SpkiPin) -> Option<Place> {
        let mut taken = self.taken();
        let count = taken.entry(key).or_insert(0);
        if *count >= PLACES {
            metrics().limited(Limit::AgentConnections);
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Place { of: Arc::clone(self), key })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<SpkiPin, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.of.taken().entry(self.key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_so_many_places_and_gets_them_back_and_nothing_is_kept() {
        let places = Arc::new(Places::default());
        let (ada, eve) = (SpkiPin::of_spki(b"ada"), SpkiPin::of_spki(b"eve"));
        let mut taken: Vec<Place> = (0..PLACES).filter_map(|_| places.take(eve)).collect();
        assert_eq!(taken.len(), PLACES as usize);
        assert!(places.take(eve).is_none());
        assert!(places.take(ada).is_some(), "another's are another's");
        taken.pop();
        taken.extend(places.take(eve));
        assert_eq!(taken.len(), PLACES as usize);
        drop(taken);
        assert!(places.taken().is_empty());
    }
}
