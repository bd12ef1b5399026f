//! What browsers, systems and devices are known by. The first mark that a text holds counts.

/// What crawlers and tools have in their names, in lower case.
pub(crate) const BOTS: &[&str] = &[
    "googlebot",
    "bingbot",
    "applebot",
    "headlesschrome",
    "lighthouse",
    "facebookexternalhit",
    "slurp",
    "bot",
    "crawl",
    "spider",
    "preview",
    "monitor",
    "curl/",
    "wget/",
    "python-requests",
    "python-urllib",
    "aiohttp",
    "httpx",
    "okhttp",
    "axios",
    "node-fetch",
    "undici",
    "go-http-client",
    "apache-httpclient",
    "java/",
    "libwww-perl",
    "postmanruntime",
    "insomnia",
    "k6/",
    "phantomjs",
];

/// Browsers; those built on others come before them.
pub(crate) const BROWSERS: &[(&str, &str)] = &[
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edg/", "Edge"),
    ("Edge/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("OPiOS/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex"),
    ("Vivaldi/", "Vivaldi"),
    ("UCBrowser/", "UC Browser"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("Ddg/", "DuckDuckGo"),
    ("Whale/", "Whale"),
    ("MiuiBrowser/", "Mi Browser"),
    ("HuaweiBrowser/", "Huawei Browser"),
    ("Silk/", "Silk"),
    ("Instagram ", "Instagram"),
    ("FBAV/", "Facebook"),
    ("GSA/", "Google App"),
    ("Electron/", "Electron"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Chromium/", "Chrome"),
    ("Opera/", "Opera"),
    ("MSIE ", "Internet Explorer"),
    ("Trident/7.0; rv:", "Internet Explorer"),
    ("Trident/", "Internet Explorer"),
    ("Version/", "Safari"),
    ("AppleWebKit/", "WebKit"),
];

/// Systems.
pub(crate) const SYSTEMS: &[(&str, &str)] = &[
    ("Windows Phone", "Windows Phone"),
    ("Xbox", "Xbox"),
    ("Windows", "Windows"),
    ("iPhone", "iOS"),
    ("iPad", "iOS"),
    ("iPod", "iOS"),
    ("Mac OS X", "macOS"),
    ("Macintosh", "macOS"),
    ("Android", "Android"),
    ("CrOS", "Chrome OS"),
    ("Tizen", "Tizen"),
    ("Web0S", "webOS"),
    ("webOS", "webOS"),
    ("KAIOS", "KaiOS"),
    ("PlayStation", "PlayStation"),
    ("Nintendo", "Nintendo"),
    ("Linux", "Linux"),
    ("FreeBSD", "FreeBSD"),
];

/// What versions of Windows call themselves; 11 says that it is 10.
pub(crate) const WINDOWS: &[(&str, &str)] = &[
    ("NT 10.0", "10"),
    ("NT 6.3", "8.1"),
    ("NT 6.2", "8"),
    ("NT 6.1", "7"),
    ("NT 6.0", "Vista"),
    ("NT 5.1", "XP"),
];

/// Devices that stand in front of a sofa.
pub(crate) const TVS: &[&str] = &[
    "SMART-TV",
    "SmartTV",
    "Smart TV",
    "AppleTV",
    "Apple TV",
    "GoogleTV",
    "Android TV",
    "HbbTV",
    "BRAVIA",
    "CrKey",
    "Roku",
    "Web0S",
    "AFTS",
    "AFTM",
];

/// Consoles.
pub(crate) const CONSOLES: &[&str] = &["PlayStation", "Xbox", "Nintendo"];

/// Tablets that say so; one with Android says that it is not mobile.
pub(crate) const TABLETS: &[&str] = &["iPad", "Tablet", "Kindle", "KFAPWI", "Silk/"];
