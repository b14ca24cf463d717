"""Recipes: which views of an image the frozen encoder sees, and their geometry.

One module per recipe with a class `Recipe` (see `patchbank.views.base`); the module's name is the recipe's name.
"""
