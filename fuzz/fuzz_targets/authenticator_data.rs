//! Authenticator data: what we and the library both take apart falls into the same parts, and no byte is left over or
//! counted twice. What the agent takes for a key is one to the library too, and the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use patapim_edge::agent::proof::CoseKey;
use patapim_edge::deployer::fuzzing::credential_in;
use patapim_edge::proof::authenticator_data::{ATTESTED, EXTENDED, Header};
use patapim_edge::secret::sha256;
use patapim_fuzz::RP_ID;
use webauthn_rs_core::internals::AuthenticatorData;
use webauthn_rs_core::proto::{COSEKey, COSEKeyType, Registration};

// The flags, and what follows the counter.
fuzz_target!(|data: &[u8]| {
    let Some((&flags, rest)) = data.split_first() else { return };
    let bytes = [&sha256(RP_ID)[..], &[flags], &[0; 4], rest].concat();
    let Some(ours) = credential_in(&bytes) else { return };
    let (header, rest) = Header::split(&bytes).expect("both read the head");
    assert_eq!(ours.is_some(), header.has(ATTESTED));
    let parts = ours.map_or(0, |[model, id, key]| model.len() + 2 + id.len() + key.len());
    assert!(if header.has(EXTENDED) { parts < rest.len() } else { parts == rest.len() });

    let Ok(theirs) = AuthenticatorData::<Registration>::try_from(&bytes[..]) else { return };
    assert_eq!(ours.is_some(), theirs.acd.is_some());
    let (Some([model, id, key]), Some(acd)) = (ours, theirs.acd) else { return };
    assert_eq!((model, id), (&acd.aaguid[..], &acd.credential_id[..]));
    let (Some(CoseKey::Es256 { x, y }), Ok(theirs)) =
        (CoseKey::parse(key), COSEKey::try_from(&acd.credential_pk))
    else {
        return;
    };
    let COSEKeyType::EC_EC2(theirs) = theirs.key else { panic!("another kind of key: {theirs:?}") };
    assert_eq!((&x[..], &y[..]), (&theirs.x[..], &theirs.y[..]));
});
