package peers

func ourSaramaSubjects() []Subject { return nil }
