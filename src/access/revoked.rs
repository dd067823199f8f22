//! The revoked set, in memory: of a million revocations, 24 bytes each, and as many again that a hash table leaves empty.

use dashmap::DashMap;

use super::revocation::{Cause, Lineage, OpenedBy, Target};
use crate::clock::Timestamp;
use crate::names::SessionId;
use crate::secret::sha256;

/// So many tables, so that one that grows is small.
const SHARDS: usize = 64;

/// The set, as the store's change feed fills it.
#[derive(Debug)]
pub(super) struct RevokedSet(DashMap<Name, Moment>);

impl Default for RevokedSet {
    fn default() -> Self {
        Self(DashMap::with_shard_amount(SHARDS))
    }
}

impl RevokedSet {
    /// All of it is about to be told anew.
    pub(super) fn begins(&self) {
        self.0.iter_mut().for_each(|mut moment| *moment = moment.doubted(true));
    }

    /// What was not told since then is gone.
    pub(super) fn ends(&self) {
        self.0.retain(|_, moment| !moment.is_doubted());
    }

    /// Takes a revocation in; false where it was there already and was only told anew.
    pub(super) fn told(&self, target: &Target, at: Timestamp, cause: Cause) -> bool {
        let told = Moment::new(at, cause);
        let former = self.0.insert(Name::of(target), told);
        former != Some(told.doubted(true))
    }

    pub(super) fn remove(&self, target: &Target) {
        self.0.remove(&Name::of(target));
    }

    /// How much it holds.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Why that one session was ended, if it was by name.
    pub(super) fn cause_of(&self, session: &SessionId) -> Option<Cause> {
        self.0.get(&Name::of_id(Kind::Session, session.as_str()))?.cause()
    }

    /// Whether something of that lineage is over.
    pub(super) fn covers(&self, of: &Lineage<'_>) -> bool {
        let over = |name: Name| self.0.get(&name).is_some_and(|revoked| of.signed_in_at <= revoked.at());
        of.session.is_some_and(|id| self.0.contains_key(&Name::of_id(Kind::Session, id.as_str())))
            || over(Name::of_id(Kind::Device, of.device.as_str()))
            || over(Name::of_id(Kind::User, of.user.as_str()))
            || (of.opened_by != OpenedBy::AccessToken && over(Name::of_id(Kind::Browsers, of.user.as_str())))
            || of.tunnel.is_some_and(|id| over(Name::of_label(id.as_str())))
            || (of.opened_by == OpenedBy::SignedToken && over(Name::SIGNED))
    }
}

/// The kinds of targets.
#[derive(Clone, Copy)]
enum Kind {
    Session,
    Device,
    User,
    Browsers,
    Tunnel,
    Signed,
}

/// A target, in 17 bytes.
///
/// Ids are 26 digits of base32, so all of one fits beside its kind. A tunnel's label may be longer: of it these are 128 bits
/// of the SHA-256. To be revoked with another's tunnel, a label would have to have the same; to find two such labels takes
/// 2⁶⁴ tries, and ends the two that were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name([u8; 17]);

impl Name {
    const SIGNED: Self = Self::new(Kind::Signed, 0, 0);

    fn of(target: &Target) -> Self {
        match target {
            Target::Session(id) => Self::of_id(Kind::Session, id.as_str()),
            Target::Device(id) => Self::of_id(Kind::Device, id.as_str()),
            Target::User(id) => Self::of_id(Kind::User, id.as_str()),
            Target::Browsers(id) => Self::of_id(Kind::Browsers, id.as_str()),
            Target::Tunnel(label) => Self::of_label(label.as_str()),
            Target::Signed => Self::SIGNED,
        }
    }

    /// Of the digits all but the last are in `rest`: 125 bits.
    fn of_id(kind: Kind, id: &str) -> Self {
        let digit = |letter: u8| match letter {
            b'a'..=b'z' => letter - b'a',
            other => other.wrapping_sub(b'2').wrapping_add(26) & 31,
        };
        let (last, others) = id.as_bytes().split_last().unwrap_or((&b'a', &[]));
        let rest = others.iter().fold(0, |rest: u128, letter| (rest << 5) | u128::from(digit(*letter)));
        Self::new(kind, digit(*last), rest)
    }

    fn of_label(label: &str) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&sha256(label)[..16]);
        Self::new(Kind::Tunnel, 0, u128::from_be_bytes(half))
    }

    const fn new(kind: Kind, digit: u8, rest: u128) -> Self {
        let rest = rest.to_be_bytes();
        let mut name = [0; 17];
        name[0] = (kind as u8) << 5 | digit;
        let mut at = 0;
        while at < rest.len() {
            name[at + 1] = rest[at];
            at += 1;
        }
        Self(name)
    }
}

/// Up to when sign-ins are over, and why, in 7 bytes: 48 bits of milliseconds, and the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment([u8; 7]);

impl Moment {
    /// Not told again since all is told anew.
    const DOUBTED: u8 = 0x80;
    /// What lies behind it, in the year 10889, is as good as never.
    const LAST: u64 = (1 << 48) - 1;

    fn new(at: Timestamp, cause: Cause) -> Self {
        let [_, _, at @ ..] = at.millis().min(Self::LAST).to_be_bytes();
        let mut moment = [0; 7];
        moment[..6].copy_from_slice(&at);
        moment[6] = Cause::ALL.iter().position(|one| *one == cause).map_or(0, |place| place as u8);
        Self(moment)
    }

    fn at(self) -> Timestamp {
        let [a, b, c, d, e, f, _] = self.0;
        Timestamp::from_millis(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    fn cause(self) -> Option<Cause> {
        Cause::ALL.get(usize::from(self.0[6] & !Self::DOUBTED)).copied()
    }

    fn is_doubted(self) -> bool {
        self.0[6] & Self::DOUBTED != 0
    }

    fn doubted(mut self, doubted: bool) -> Self {
        self.0[6] &= !Self::DOUBTED;
        self.0[6] |= if doubted { Self::DOUBTED } else { 0 };
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::names::{DeviceId, TunnelId, UserId};
    use crate::secret::SystemEntropy;

    const AT: Timestamp = Timestamp::from_millis(1_800_000_000_123);

    #[test]
    fn it_covers_what_was_signed_in_up_to_its_moment_and_nothing_later() {
        let entropy = SystemEntropy::shared();
        let (user, device) = (UserId::random(&*entropy), DeviceId::random(&*entropy));
        let set = RevokedSet::default();
        let signed_in = |millis| Lineage {
            session: None,
            device: &device,
            user: &user,
            tunnel: None,
            opened_by: OpenedBy::SignedToken,
            signed_in_at: Timestamp::from_millis(AT.millis() - 1 + millis),
        };
        for target in [Target::User(user.clone()), Target::Device(device.clone()), Target::Signed] {
            assert!(set.told(&target, AT, Cause::Person));
            assert!(set.covers(&signed_in(0)) && set.covers(&signed_in(1)));
            assert!(!set.covers(&signed_in(2)));
            set.remove(&target);
            assert!(!set.covers(&signed_in(0)));
        }
    }

    #[test]
    fn no_two_targets_have_one_name_and_no_revocation_takes_more_than_24_bytes() {
        let entropy = SystemEntropy::shared();
        let id = UserId::random(&*entropy);
        let mut names = HashSet::from([Name::SIGNED]);
        let mut ids = vec![id.as_str().to_owned()];
        for place in 0..26 {
            // Also spellings that we never make: of the last digit only three bits are an id's.
            for digit in "abcdefghijklmnopqrstuvwxyz234567".chars() {
                let mut other = id.as_str().to_owned();
                other.replace_range(place..=place, digit.encode_utf8(&mut [0; 4]));
                ids.push(other);
            }
        }
        ids.sort();
        ids.dedup();
        for id in &ids {
            names.insert(Name::of(&Target::Session(SessionId::parse(id).expect("an id"))));
            names.insert(Name::of(&Target::Device(DeviceId::parse(id).expect("an id"))));
            names.insert(Name::of(&Target::User(UserId::parse(id).expect("an id"))));
            names.insert(Name::of(&Target::Browsers(UserId::parse(id).expect("an id"))));
            names.insert(Name::of(&Target::Tunnel(TunnelId::parse(id).expect("a label"))));
        }
        assert_eq!(names.len(), 1 + 5 * ids.len());
        assert_eq!(size_of::<(Name, Moment)>(), 24);
    }

    #[test]
    fn a_moment_is_kept_to_the_millisecond_with_each_cause() {
        for cause in Cause::ALL {
            for at in [Timestamp::default(), AT, Timestamp::from_millis(Moment::LAST)] {
                for moment in [Moment::new(at, *cause), Moment::new(at, *cause).doubted(true)] {
                    assert_eq!((moment.at(), moment.cause()), (at, Some(*cause)));
                }
            }
        }
        let far = Timestamp::from_millis(u64::MAX);
        assert_eq!(Moment::new(far, Cause::Person).at(), Timestamp::from_millis(Moment::LAST));
    }

    #[test]
    fn what_is_told_anew_is_no_news_and_what_is_not_is_gone() {
        let entropy = SystemEntropy::shared();
        let [kept, moved, gone] = [(); 3].map(|()| Target::User(UserId::random(&*entropy)));
        let set = RevokedSet::default();
        for target in [&kept, &moved, &gone] {
            assert!(set.told(target, AT, Cause::Person));
        }
        set.begins();
        assert!(!set.told(&kept, AT, Cause::Person));
        // It was broken off there.
        set.begins();
        assert!(!set.told(&kept, AT, Cause::Person));
        assert!(set.told(&moved, AT + std::time::Duration::from_millis(1), Cause::Person));
        assert_eq!(set.len(), 3);
        set.ends();
        assert_eq!(set.len(), 2);
        assert!(set.0.contains_key(&Name::of(&kept)) && set.0.contains_key(&Name::of(&moved)));
    }
}
