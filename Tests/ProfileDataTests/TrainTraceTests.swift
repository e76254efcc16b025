// SPDX-License-Identifier: MIT

import Platform
import ProfileData
import TestSupport
import Testing

@Suite("The training trace of profile-data", .enabled(if: TrainTrace.isThere))
struct TrainTraceTests {
    private static let trace = Result { try Trace(path: TrainTrace.path) }

    private func report() throws -> ProfileReport { ProfileReport(try Self.trace.get()) }

    @Test("The span, what is active, and each stream")
    func streams() throws {
        let report = try report()
        #expect(report.eventCount == 14_240)
        #expect(report.byteCount == 3_132_978)
        #expect(report.rank == 0 && report.worldSize == 64 && report.devices.count == 8)
        #expect(report.span == 129_012_000)
        #expect(report.active == 128_515_000)
        #expect(report.streams.map(\.title) == ["stream 7", "stream 23", "stream 27"])
        #expect(report.streams.map(\.kernelCount) == [907, 16, 40])
        #expect(report.streams.map(\.copyCount) == [20, 0, 0])
        #expect(report.streams.map(\.busy) == [118_193_000, 11_355_000, 114_521_000])
        #expect(report.computeIdle == 4_674_000)
    }

    @Test("Communication, hidden and exposed")
    func communication() throws {
        let communication = try report().communication
        #expect(communication.total == 113_440_000)
        #expect(communication.hidden == 109_263_000)
        #expect(communication.exposed == 4_177_000)
        #expect((communication.hiddenFraction * 1000).rounded() == 963)
        #expect(communication.notify == 32_578_000)
        #expect(communication.gaps.first?.duration == 1_758_000)
        #expect(communication.gaps.contains { $0.duration == 381_000 && $0.start < 2_000_000 })
        #expect(communication.gaps.map(\.duration).reduce(0, +) == communication.exposed)
    }

    @Test("Time and launches of each class")
    func classes() throws {
        let expected: [(KernelClass, Int?, Int64)] = [
            (.combine, 8, 49_448), (.dispatch, 8, 31_004), (.notify, 16, 32_578), (.layout, 4, 410),
            (.weightGradientGemm, 60, 32_756), (.groupedGemm, 16, 22_926), (.denseGemm, 64, 18_838),
            (.attentionBackward, nil, 17_017), (.cast, 276, 16_663), (.other, nil, 5_872),
            (.attentionForward, 4, 4_948), (.permute, nil, 4_786), (.norm, nil, 3_448), (.swiglu, nil, 1_863),
            (.rope, nil, 1_512),
        ]
        let classes = try report().classes
        #expect(classes.count == expected.count)
        for (kernelClass, count, microseconds) in expected {
            let found = try #require(classes.first { $0.kernelClass == kernelClass.rawValue })
            #expect(found.total == microseconds * 1000, "\(kernelClass)")
            if let count { #expect(found.count == count, "\(kernelClass)") }
        }
        let gemm = try #require(classes.first { $0.kernelClass == "weightGradientGemm" })
        #expect((gemm.fraction * 1000).rounded() == 251)
    }

    @Test("The schedule inside the overlapped pair: ten phases, four layers")
    func phases() throws {
        let phases = try #require(try report().phases)
        #expect(phases.turns == 4)
        #expect(
            phases.phases.map(\.name) == [
                "combine(B)", "attn(F)", "mlp(B)", "dispatch(F)", "dispatch(B)", "mlp(W)", "mlp(F)", "attn(B)",
                "attn(W)", "combine(F)",
            ])
        let combine = try #require(phases.phases.first)
        #expect(combine.communication > 0 && combine.hiddenBehind == "attn(F)")
    }
}
