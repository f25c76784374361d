"""The ProjectSetup resource as users write and read it. Imports no other part of the package."""
