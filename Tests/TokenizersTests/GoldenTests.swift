// SPDX-License-Identifier: MIT

import Testing
import Tokenizers

@Suite("The real DeepSeek-V3 tokenizer")
struct GoldenTests {
    // Skipped, with a line on standard output, where the golden data is not beside the repository.
    @Test("Every golden line has its ids and its decoded text", .enabled(if: Data.hasGoldens))
    func goldenLines() throws {
        let tokenizer = try Loaded.v3.get()
        let cases = try Data.lines(Data.goldens + "/cases.jsonl", as: EncodingCase.self)
        #expect(cases.count == 440)
        for line in cases {
            #expect(tokenizer.encode(line.text) == line.ids, "\(line.text.debugDescription)")
            #expect(tokenizer.decode(line.ids) == line.decoded, "\(line.ids)")
        }
    }

    @Test("The file's facts", .enabled(if: Data.hasGoldens))
    func facts() throws {
        let tokenizer = try Loaded.v3.get()
        #expect(tokenizer.usesFastPath)
        #expect(tokenizer.vocabularySize == 128_815)
        #expect(tokenizer.id(of: "<think>") == 128_798)
        #expect(tokenizer.token(of: 128_804) == "<｜Assistant｜>")
        #expect(tokenizer.isSpecial(0) && tokenizer.isSpecial(1) && !tokenizer.isSpecial(128_798))
        #expect(tokenizer.beginOfSequence == "<｜begin▁of▁sentence｜>")
        #expect(tokenizer.endOfSequence == "<｜end▁of▁sentence｜>")
    }
}

#if !DEBUG
@Suite("Speed with the real DeepSeek-V3 tokenizer")
struct TokenizerSpeedTests {
    // Only in optimised builds, and skipped, with a line on standard output, where the golden data is not there. The
    // limits are a tenth of what `fathom bench tokenizer` asks for on an idle core: they show a change of order only.
    @Test("Loading and encoding take nothing like ten times their time", .enabled(if: Data.hasGoldens))
    func speed() throws {
        let report = try TokenizerBenchmark.run(folder: Data.goldens, byteCount: 4_000_000)
        print("tokenizer: \(report)")
        #expect(report.loadSeconds < 5)
        #expect(report.encodeMegabytesPerSecond >= 0.5)
        #expect(report.isLossless)
    }
}
#endif
