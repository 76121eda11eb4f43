package policy

import "strings"

// legacyBelow is the major version of a browser from which on it is not a
// legacy one: the first that has ES modules, async iteration and fetch without
// known faults.
var legacyBelow = map[string]int{
	"chrome":  63,
	"edge":    79, // the first on Chromium's engine
	"firefox": 67,
	"opera":   50,
	"safari":  12,
}

// isLegacyBrowser reads a User-Agent. What it does not know is not a legacy one.
func isLegacyBrowser(agent string) bool {
	name, major := browser(agent)
	switch name {
	case "ie", "opera mini", "android", "presto":
		return true
	}
	least, known := legacyBelow[name]
	return known && major < least
}

// browser names a browser and its major version. Names are few: those that
// legacyBelow and isLegacyBrowser know, or empty. Every browser pretends to be
// older ones, so the more special names are looked for first.
func browser(agent string) (name string, major int) {
	has := func(s string) bool { return strings.Contains(agent, s) }
	switch {
	case has("MSIE "), has("Trident/"), has("IEMobile/"):
		return "ie", 0
	case has("Opera Mini/"):
		return "opera mini", 0
	case has("Opera/"), has("Presto/"):
		return "presto", 0
	case has("Edge/"):
		return "edge", after(agent, "Edge/")
	case has("Edg/"):
		return "edge", after(agent, "Edg/")
	case has("EdgA/"), has("EdgiOS/"), has("SamsungBrowser/"), has("CriOS/"), has("FxiOS/"):
		return "", 0 // their versions go their own ways, or are the system's
	case has("OPR/"):
		return "opera", after(agent, "OPR/")
	case has("Firefox/"):
		return "firefox", after(agent, "Firefox/")
	case has("Chrome/"):
		return "chrome", after(agent, "Chrome/")
	case has("Android") && has("AppleWebKit/") && has("Version/"):
		return "android", 0 // the browser of Android before 4.4
	case has("Safari/") && has("Version/"):
		return "safari", after(agent, "Version/")
	}
	return "", 0
}

// after reads the whole number that follows name, up to 6 digits.
func after(agent, name string) int {
	_, rest, _ := strings.Cut(agent, name)
	n := 0
	for i := 0; i < len(rest) && i < 6 && rest[i] >= '0' && rest[i] <= '9'; i++ {
		n = n*10 + int(rest[i]-'0')
	}
	return n
}

// crawlerNames are programs that read the web and do not say so by a word that
// isCrawler knows. In lower case.
var crawlerNames = []string{
	"slurp", "mediapartners-google", "adsbot-google", "apis-google", "google-inspectiontool", "googleother", "google-extended", "feedfetcher",
	"facebookexternalhit", "facebookcatalog", "meta-externalagent", "whatsapp/", "embedly", "quora link preview", "outbrain", "skypeuripreview",
	"vkshare", "w3c_validator", "ia_archiver", "archive.org", "yahoo pipes", "bingpreview", "yandeximages", "yandexmetrika",
	"bytespider", "perplexity", "chatgpt-user", "oai-searchbot", "claude-web", "cohere-ai", "diffbot",
	"pingdom", "statuscake", "uptime-kuma", "site24x7", "chrome-lighthouse", "gtmetrix", "screaming frog",
	"scrapy", "nutch", "heritrix", "httrack", "sogou web",
}

// isCrawler reads a User-Agent: a word that ends in bot, crawler or spider, or
// one of crawlerNames.
func isCrawler(agent string) bool {
	agent = strings.ToLower(agent)
	for _, ending := range []string{"bot", "crawler", "spider"} {
		for rest := agent; ; {
			i := strings.Index(rest, ending)
			if i < 0 {
				break
			}
			before := rest[:i]
			rest = rest[i+len(ending):]
			wordEnds := rest == "" || rest[0] < 'a' || rest[0] > 'z'
			// Cubot makes telephones.
			if wordEnds && (ending != "bot" || !strings.HasSuffix(before, "cu")) {
				return true
			}
		}
	}
	for _, name := range crawlerNames {
		if strings.Contains(agent, name) {
			return true
		}
	}
	return false
}
