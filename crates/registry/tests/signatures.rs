//! What a node does that was told to require signatures, against our server: images run only when the right key signed them.

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

use common::Served;
use oci::client::Client;
use oci::layout::Layout;
use oci::signature::{self, Error, Policy};
use oci::{Descriptor, EndpointMap, ImageConfig, Index, Manifest, Reference, media};
use registry::{Access, Config};

fn image(layout: &Layout, text: &str) -> Descriptor {
    let config = ImageConfig {
        architecture: "amd64".into(),
        os: "linux".into(),
        author: Some(text.into()),
        ..ImageConfig::default()
    };
    let config = layout.put_json(media::OCI_CONFIG, &config).expect("config");
    layout.put_json(media::OCI_MANIFEST, &Manifest::new(config, Vec::new())).expect("manifest")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_lets_only_signed_images_pass() {
    let dir = tempfile::tempdir().expect("tempdir");
    let served = Served::start(Config { access: Access::open(), ..Config::new(dir.path().join("storage")) }).await;
    let host = served.address.to_string();
    let mut map = EndpointMap::default();
    map.insert(&host, &format!("http://{host}")).expect("address");
    let client = Client::new(map);
    let layout = Layout::open(dir.path().join("local")).expect("layout");
    let name = |text: &str| Reference::parse(&format!("{host}/{text}")).expect("reference");
    let key = || signature::generate().expect("key").1;
    let (ours, second, theirs) = (key(), key(), key());
    let policy = Policy::default()
        .require(format!("{host}/free/**"), Vec::new())
        .require(format!("{host}/**"), vec![ours.verifying(), second.verifying()]);

    let (one, two) = (image(&layout, "one"), image(&layout, "two"));
    let many = layout.put_json(media::OCI_INDEX, &Index::new(vec![one.clone(), two.clone()])).expect("index");
    let app = name("me/app:1");
    for (image, at) in
        [(&one, &app), (&two, &name("me/app:2")), (&many, &name("me/app:many")), (&one, &name("free/app:1"))]
    {
        client.push(&layout, image, at, &()).await.expect("pushed");
    }
    policy.check(&client, &name("free/app:1"), &one.digest).await.expect("exempt");
    let wrong = policy.check(&client, &app, &one.digest).await.expect_err("not signed");
    assert!(matches!(wrong, Error::Unsigned { .. }), "{wrong}");
    signature::sign(&client, &app, &one.digest, &theirs).await.expect("signed");
    let wrong = policy.check(&client, &app, &one.digest).await.expect_err("signed by another");
    assert!(matches!(wrong, Error::Untrusted { count: 1, .. }), "{wrong}");
    // Any one of the keys is enough, beside any other's signature.
    signature::sign(&client, &app, &one.digest, &second).await.expect("signed");
    policy.check(&client, &app, &one.digest).await.expect("signed by one of ours");
    // An index is signed as itself, not by what it names.
    let tag = name("me/app:many");
    policy.check(&client, &tag, &many.digest).await.expect_err("the index is not signed");
    signature::sign(&client, &tag, &many.digest, &ours).await.expect("signed");
    policy.check(&client, &tag, &many.digest).await.expect("signed");

    // A signature of one image put where another's belongs is none for it.
    let at = |descriptor: &Descriptor| name(&format!("me/app:{}", signature::tag(&descriptor.digest)));
    let found = client.manifest(&at(&one)).await.expect("signatures");
    client.put_manifest(&at(&two), &found.descriptor.media_type, found.bytes).await.expect("put");
    let wrong = policy.check(&client, &name("me/app:2"), &two.digest).await.expect_err("another's signature");
    assert!(matches!(wrong, Error::Untrusted { .. }), "{wrong}");
    // What a client asked is a digest: a tag that moves later runs nothing else.
    client.push(&layout, &two, &app, &()).await.expect("moved");
    let moved = client.resolve(&app).await.expect("answer").expect("there").digest;
    policy.check(&client, &app, &moved).await.expect_err("what the tag names now is not signed");
    served.stop().await;
}
