// SPDX-License-Identifier: MIT

import DeepSeekModel
import Planner
import Platform
import Testing

@Suite("Predicted times of a layer")
struct LayerTimeTests {
    private func v3() throws -> ModelCosts { try ModelCosts(KnownModel.deepSeekV3.configuration()) }

    @Test("layers of prefill and decode are within 15 % of the published traces")
    func traces() throws {
        let traces = TraceComparison(try v3())
        for group in [traces.prefillFigures, traces.decodeFigures] {
            let held = group.figures.filter { $0.tolerance != nil }
            #expect(!held.isEmpty)
            for figure in held { #expect(figure.isMet == true, "\(figure)") }
        }
    }

    @Test("products and attention of prefill are within 15 % of the trace, one by one")
    func products() throws {
        let group = TraceComparison(try v3()).prefillFigures
        let single = group.figures.filter { $0.published != nil && $0.note != "link" && $0.tolerance == nil }
        #expect(single.count == 10)
        for figure in single { #expect((figure.deviation ?? 1).magnitude < 0.15, "\(figure)") }
    }

    @Test("a slower machine is slower, and another split of multiprocessors changes arithmetic only")
    func monotone() throws {
        let model = try v3()
        var slow = Hardware.h800
        slow.memoryGigabytesPerSecond /= 2
        slow.float8Teraflops /= 2
        slow.bfloat16Teraflops /= 2
        slow.networkGigabytesPerSecond /= 2
        let rates = KernelRates()
        let (work, prompt) = (TraceComparison.decodeWork, TraceComparison.prefillWork)
        let fast = DecodeTimes(work, of: model, on: .h800, rates: rates).secondsPerLayer
        #expect(DecodeTimes(work, of: model, on: slow, rates: rates).secondsPerLayer > 1.5 * fast)
        let usual = PrefillTimes(prompt, of: model, on: .h800, rates: rates)
        #expect(PrefillTimes(prompt, of: model, on: slow, rates: rates).secondsPerLayer > 1.9 * usual.secondsPerLayer)
        var split = prompt
        split.communicationMultiprocessors = 60
        let other = PrefillTimes(split, of: model, on: .h800, rates: rates)
        #expect(other.communication == usual.communication)
        #expect(other.computation > usual.computation)
    }

    @Test("the network binds a layer of prefill when it is slow enough, and the layer then takes its time")
    func exposed() throws {
        var hardware = Hardware.h800
        hardware.networkGigabytesPerSecond = 5
        let times = PrefillTimes(TraceComparison.prefillWork, of: try v3(), on: hardware, rates: KernelRates())
        #expect(times.communication > 3 * times.computation)
        #expect(times.secondsPerLayer > 0.999 * times.communication)
        #expect(times.secondsPerLayer < 1.3 * times.communication)
    }
}

@Suite("Costs of a model")
struct ModelCostTests {
    @Test("V3's parts per GPU are the published deployment's")
    func v3() throws {
        let costs = try ModelCosts(KnownModel.deepSeekV3.configuration())
        #expect(costs.inspection.parametersWithScales == 684_531_386_000)
        #expect(costs.inspection.tensorBytes == 688_574_839_360)
        #expect(costs.inspection.activeParametersPerToken == 36_625_596_416)
        #expect(costs.cacheBytesPerToken() == 70_272)
        #expect(costs.cacheBytesPerTokenAndLayer(.float8) == 656)
        #expect(costs.expertLayerCount == 58 && costs.denseLayerCount == 3)
        func gigabytes(_ bytes: Int) -> Double { (Double(bytes) / 1e7).rounded() / 100 }
        #expect(gigabytes(3 * 58 * costs.expertBytes) == 7.66)
        #expect(gigabytes(61 * costs.attentionBytes) == 11.42)
        #expect(gigabytes(3 * costs.denseBytes) == 1.19)
        #expect(gigabytes(costs.embeddingBytes + costs.headBytes) == 3.71)
    }

    @Test("the parts of every known model add up to its checkpoint", arguments: KnownModel.allCases)
    func sum(model: KnownModel) throws {
        let costs = try ModelCosts(model.configuration())
        let configuration = costs.configuration
        let expertLayer =
            costs.sharedExpertBytes + costs.routerBytes + configuration.routedExpertCount * costs.expertBytes
        let main =
            costs.layerCount * costs.attentionBytes + costs.expertLayerCount * expertLayer
            + costs.denseLayerCount * costs.denseBytes + costs.embeddingBytes + costs.headBytes
        let prediction =
            configuration.predictionLayerCount
            * (costs.predictionBytes + configuration.routedExpertCount * costs.expertBytes
                + 2 * costs.embeddingBytes)
        #expect(main + prediction == costs.inspection.tensorBytes)
    }

    @Test("V3.2 and V2-Lite have their published totals")
    func others() throws {
        let sparse = try ModelCosts(KnownModel.deepSeekV32.configuration())
        #expect(sparse.inspection.parametersWithScales == 685_396_921_376)
        #expect(sparse.cacheBytesPerTokenAndLayer(.float8) == 656 + 132)
        #expect(sparse.attendedKeys(among: 100_000) == 2048)
        let lite = try ModelCosts(KnownModel.deepSeekV2Lite.configuration())
        #expect(lite.inspection.parameters == 15_706_484_224)
    }
}
