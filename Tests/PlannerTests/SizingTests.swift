// SPDX-License-Identifier: MIT

import DeepSeekModel
import Planner
import Platform
import TestSupport
import Testing

@Suite("Sizing of a fleet")
struct SizingTests {
    private func plans(
        _ goal: ServiceGoal, model: KnownModel = .deepSeekV3, on hardware: Hardware = .h800, drafts: Bool = true
    ) throws(FathomError) -> [SizedPlan] {
        try FleetSizing(
            model: ModelCosts(model.configuration()), hardware: hardware, goal: goal, drafts: drafts
        ).plans(5)
    }

    @Test("plans reach their goal with margins that are not negative, the cheapest first")
    func goals() throws {
        let found = try plans(ServiceGoal(tokensPerSecond: 1e5))
        #expect(found.count == 5)
        for plan in found {
            #expect(plan.outputMargin >= 0.15 && plan.promptMargin >= 0.15, "\(plan)")
            #expect(plan.firstTokenMargin >= 0 && plan.perTokenMargin >= 0 && plan.memoryMargin >= 0, "\(plan)")
        }
        #expect(found.map(\.dollarsPerHour) == found.map(\.dollarsPerHour).sorted())
    }

    @Test("more tokens, faster answers and no drafts cost more; better hardware needs fewer GPUs")
    func monotone() throws {
        func gpus(_ plans: [SizedPlan]) -> Int { plans.first.map { $0.prefill.gpus + $0.decode.gpus } ?? .max }
        let usual = gpus(try plans(ServiceGoal(tokensPerSecond: 1e6)))
        #expect(gpus(try plans(ServiceGoal(tokensPerSecond: 2e6))) > usual)
        #expect(gpus(try plans(ServiceGoal(tokensPerSecond: 1e6, secondsPerToken: 0.025))) > usual)
        let fast = ServiceGoal(tokensPerSecond: 1e6, secondsPerToken: 0.025)
        #expect(gpus(try plans(fast, drafts: false)) > gpus(try plans(fast)))
        #expect(gpus(try plans(ServiceGoal(tokensPerSecond: 1e6), on: .b200)) < usual)
    }

    @Test("every known model has a plan on a B200, a small one on a single GPU too", arguments: KnownModel.allCases)
    func models(model: KnownModel) throws {
        let found = try plans(ServiceGoal(tokensPerSecond: 1000, firstTokenSeconds: 10), model: model, on: .b200)
        #expect(!found.isEmpty)
        if model == .deepSeekV2Lite { #expect(found[0].decode.shape.ranks <= 8) }
    }

    @Test(
        "numbers out of range are usage, with range and unit",
        arguments: [
            (ServiceGoal(tokensPerSecond: 0), ["--tokens-per-second", "1 to", "tokens/s"]),
            (ServiceGoal(tokensPerSecond: .nan), ["--tokens-per-second", "nan"]),
            (ServiceGoal(tokensPerSecond: 1, promptTokens: 1e6), ["--prompt-tokens", "163840"]),
            (ServiceGoal(tokensPerSecond: 1, hitRate: 1.5), ["--hit-rate", "0.999"]),
            (ServiceGoal(tokensPerSecond: 1, firstTokenSeconds: -1), ["--ttft", "3600 s"]),
            (ServiceGoal(tokensPerSecond: 1, secondsPerToken: 0), ["--tpot", "60 s"]),
        ])
    func ranges(goal: ServiceGoal, words: [String]) {
        expectFailure(.usage, naming: words) { () throws(FathomError) in _ = try plans(goal) }
    }

    @Test("what no GPU can do is refused with the reason")
    func impossible() {
        expectFailure(.configuration, naming: ["no plan", "h800", "first token"]) { () throws(FathomError) in
            _ = try plans(ServiceGoal(tokensPerSecond: 1e3, firstTokenSeconds: 0.001))
        }
        expectFailure(.configuration, naming: ["no plan", "decode", "ms a token"]) { () throws(FathomError) in
            _ = try plans(ServiceGoal(tokensPerSecond: 1e3, secondsPerToken: 0.0002))
        }
        expectFailure(.usage, naming: ["a100", "h800"]) { () throws(FathomError) in _ = try Hardware.named("a100") }
        expectFailure(.missingInput, naming: ["deepseek-v9", "deepseek-v3"]) { () throws(FathomError) in
            _ = try KnownModel.configuration(named: "deepseek-v9")
        }
    }

    @Test("what binds shows: the network where it is slow, memory where the context is long")
    func sensitivity() throws {
        let model = try ModelCosts(KnownModel.deepSeekV3.configuration())
        var hardware = Hardware.h800
        hardware.networkGigabytesPerSecond = 10
        let found = Sensitivity.all(
            prefill: TraceComparison.prefillWork, decode: TraceComparison.decodeWork, of: model, on: hardware,
            rates: KernelRates())
        let network = found.first { $0.part == "network" }
        #expect((network?.decode ?? 0) > 0.07 && (network?.prefill ?? 0) > 0.07)
        #expect(found.allSatisfy { $0.prefill >= -1e-9 && $0.decode >= -1e-9 && $0.prefill < 0.1 && $0.decode < 0.1 })
    }
}
