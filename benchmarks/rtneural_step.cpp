// Microseconds of one LSTM step in RTNeural, sizes fixed at compile time, 8 inputs.
//
// Built by benchmarks/step.py when RTNEURAL names a checkout of RTNeural; prints "H median min max".

#define EIGEN_STACK_ALLOCATION_LIMIT 0
#include <RTNeural/RTNeural.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

constexpr int inputs = 8;
constexpr int rounds = 21;

template <int hidden>
void measure(int steps)
{
    auto layer = std::make_unique<RTNeural::LSTMLayerT<float, inputs, hidden>>();
    std::mt19937 random(0);
    std::uniform_real_distribution<float> weight(-0.1f, 0.1f);
    const auto matrix = [&](int rows) {
        std::vector<std::vector<float>> values(rows, std::vector<float>(4 * hidden));
        for (auto& row : values)
            std::generate(row.begin(), row.end(), [&] { return weight(random); });
        return values;
    };
    layer->setWVals(matrix(inputs));
    layer->setUVals(matrix(hidden));
    layer->setBVals(std::vector<float>(4 * hidden, 0.1f));
    layer->reset();

    Eigen::Matrix<float, inputs, 1> x;
    x.setConstant(0.3f);
    std::vector<double> figures;
    float sink = 0.0f;
    for (int round = 0; round < rounds; ++round)
    {
        const auto start = std::chrono::steady_clock::now();
        for (int step = 0; step < steps; ++step)
        {
            layer->forward(x);
            x(0) = layer->outs(0); // the next step depends on this one
        }
        const std::chrono::duration<double, std::micro> passed = std::chrono::steady_clock::now() - start;
        figures.push_back(passed.count() / steps);
        sink += x(0);
    }
    std::sort(figures.begin(), figures.end());
    std::printf("%d %.4f %.4f %.4f\n", hidden, figures[rounds / 2], figures.front(), figures.back());
    if (sink == 42.0f)
        std::puts("");
}

int main()
{
    measure<8>(50000);
    measure<16>(50000);
    measure<32>(20000);
    measure<64>(10000);
    measure<128>(3000);
}
