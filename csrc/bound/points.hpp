// Values and gradients of a network at several points at a time, in doubles: what attacks walk by.
// Points lie side by side, in lanes, as in kernels.hpp.
#pragma once

#include <vector>

#include "base/aligned.hpp"
#include "bound/kernels.hpp"
#include "bound/layers.hpp"

namespace plv {

class Points {
public:
    explicit Points(const BoundNet& net);

    // Room for so many points; their coordinates are not set.
    void resize(int count);
    int lanes() const { return lanes_; }
    double& at(int k, int lane) { return s_[static_cast<size_t>(k * lanes_ + lane)]; }
    void set(int lane, const double* s);
    void get(int lane, double* s) const;
    const double* coordinates(int lane) const { return s_.data() + lane; }  // step: lanes()

    // Evaluates the network at all points, unless it was there.
    void evaluate();
    // Of the last evaluate(): pre-activations of a layer, the outputs last.
    double value(int layer, int row, int lane) const {
        return z_[static_cast<size_t>(layer)][static_cast<size_t>(row * lanes_ + lane)];
    }
    const double* outputs(int lane) const { return z_.back().data() + lane; }  // step: lanes()

    // The gradients in the input of linear functions of the outputs, whose coefficients of lane l
    // are at weights[output * lanes() + l]; to gradient(k, lane). With a leak inactive units pass
    // on that much at least: a way off a plateau.
    void differentiate(const AlignedVector<double>& weights, double leak = 0.0);
    double gradient(int k, int lane) const {
        return input_[static_cast<size_t>(k * lanes_ + lane)];
    }

private:
    void forward(const LinearMap& map, const double* from, double* to) const;
    void backward(const LinearMap& map, const double* from, double* to) const;

    const BoundNet& net_;
    const BoundKernels& kernels_;
    int lanes_ = 0;
    AlignedVector<double> s_, input_;
    AlignedVector<double> evaluated_;         // the coordinates of the last evaluate()
    std::vector<std::vector<double>> slope_;  // of units of two pieces
    std::vector<double> leaky_;
    std::vector<AlignedVector<double>> z_, a_;  // of layers
    std::vector<AlignedVector<double>> g_;      // gradients in activations
    AlignedVector<double> h_;
    std::vector<int> all_;
};

}  // namespace plv
