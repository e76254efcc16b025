// SPDX-License-Identifier: MIT

import Planner
import Platform
import Testing

@Suite("The published day in closed form")
struct DayClosedFormTests {
    private let day = DayClosedForms.published(cacheBytesPerToken: 70_272)

    @Test("the step plot's mean is the published one, and splits as the published rates imply")
    func nodes() {
        #expect(day.averageNodes == 226.75)
        #expect(day.averageDecodeNodes == 131.25)
        #expect(day.averagePrefillNodes == 95.5)
        #expect(day.gpuHours == 43_536)
        #expect(day.cost == 87_072)
    }

    @Test("rates per node are the published ones to their last digit")
    func rates() {
        #expect((day.prefillRate / 100).rounded() * 100 == 73_700)
        #expect((day.decodeRate / 100).rounded() * 100 == 14_800)
        #expect(day.prefillRate.rounded() == 73_686)
        #expect(day.decodeRate.rounded() == 14_815)
    }

    @Test("income and margin follow from the prices")
    func money() {
        #expect(day.income == 562_100)
        #expect(((PublishedDay.income / day.cost - 1) * 100).rounded() == 545)
        #expect(TokenPrices.deepSeekV3.income(PublishedDay.tokens) == 280_560)
    }

    @Test("every closed form that has a published figure agrees with it")
    func agreement() {
        let held = day.results.figures.filter { $0.published != nil }
        #expect(held.count == 10)
        for figure in held { #expect(figure.isMet == true, "\(figure)") }
        #expect(day.inputs.figures.allSatisfy { $0.isMet == nil && $0.basis == .input })
    }

    @Test("another rent, another schedule and other totals do not agree", arguments: 0..<4)
    func falsified(variant: Int) {
        var other = day
        switch variant {
        case 0: other.dollarsPerGPUHour = 2.01
        case 1: other.nodes = NodeSchedule(steps: [.init(start: 0, nodes: 278)], seconds: 86_400)
        case 2: other.tokens.output = 170e9
        default: other.tokens.hits = 330e9
        }
        #expect(other.results.figures.contains { $0.isMet == false })
    }
}
